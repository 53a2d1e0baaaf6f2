"""One model with its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

import tallystick as ts


@dataclass(frozen=True)
class Case:
    """A model, its loss, its data, and how many rows a step takes.

    ``bar`` and ``goal``: the greatest ratios of step times, to eager PyTorch and to ``torch.compile``, that are meant.
    ``storage``: how our side stores weights.
    """

    name: str
    model: Callable[[], nn.Module]
    loss: Callable[..., Tensor]
    data: Callable[[], dict[str, np.ndarray]]
    batch_size: int
    bar: float
    goal: float
    storage: ts.Storage | None = None
