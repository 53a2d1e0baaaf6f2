"""Losses that check values. Not in a test's own file: pytest rewrites the assertions there."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def asserted(model: Any, x: Tensor, y: Tensor) -> Tensor:
    assert (y >= 0).all() and not torch.isnan(x).any()
    return F.cross_entropy(model.body(x), y)


def raising(model: Any, x: Tensor, y: Tensor) -> Tensor:
    out = model.body(x)
    if torch.isnan(out).any() or not torch.isfinite(out).all():
        message = "bad numbers"
        raise ValueError(message)
    torch._assert_async((y < 3).all())
    return F.cross_entropy(out, y)


def caught(model: Any, x: Tensor, y: Tensor) -> Tensor:
    """The check chooses between two ways: it is no mere check."""
    out = model.body(x)
    try:
        if out.max() > 1.0:
            raise ValueError("too large")
    except ValueError:
        out = out * 0.1
    return F.cross_entropy(out, y)


def caught_outside(model: Any, x: Tensor, y: Tensor) -> Tensor:
    try:
        return asserted(model, x, y)
    except AssertionError:
        return F.cross_entropy(model.body(x), y) * 0.5
