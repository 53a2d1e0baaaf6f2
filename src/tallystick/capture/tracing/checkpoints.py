"""Reentrant checkpoints, which call ``backward`` inside a backward pass: a traced step asks for gradients instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor


class _NotReentrant:
    """Has the same outputs and gradients as ``torch.utils.checkpoint.CheckpointFunction``."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        if torch.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in args):
            return torch.utils.checkpoint.checkpoint(
                function, *args, use_reentrant=False, preserve_rng_state=preserve_rng_state
            )
        # Where no operand has a gradient, a reentrant checkpoint gives none to the parameters inside either.
        with torch.no_grad():
            return function(*args)


@contextmanager
def checkpoints_without_reentry() -> Iterator[None]:
    """Let ``checkpoint(..., use_reentrant=True)`` do the same by the other way while the user's code is traced."""
    before = torch.utils.checkpoint.CheckpointFunction
    torch.utils.checkpoint.CheckpointFunction = _NotReentrant  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        torch.utils.checkpoint.CheckpointFunction = before
