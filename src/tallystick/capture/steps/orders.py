"""In which order a training job sees its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from tallystick.capture.steps.batches import batch_positions, epoch_positions
from tallystick.capture.steps.epochs import ordered
from tallystick.errors import CaptureError

Shuffle = Literal["once", "epoch", "none"]
ORDER = "order"


def shuffle_of(given: Any) -> Shuffle:
    """What is meant. Raises: CaptureError unless it is one of the three; None is "none"."""
    match given:
        case "once" | "epoch" | "none":
            return given
        case None:
            return "none"
    raise CaptureError(
        f"shuffle={given!r}: give 'once' (one order that the seed decides, the same in every epoch), 'epoch' (a new "
        "one in every epoch) or None (the rows as they are)"
    )


def rows_of_batch(
    shuffle: Shuffle, at: Mapping[str, Tensor], batch_size: int, rows: int, steps: int, seed: int
) -> Tensor:
    """The numbers of the rows that a step sees. Shape (batch_size,)."""
    step = at["step"]
    if shuffle == "epoch":
        epoch, place = epoch_positions(step, batch_size, rows, steps)
        return ordered(epoch, place, rows, seed)
    positions = batch_positions(step, batch_size, rows, steps)
    return positions if shuffle == "none" else at[ORDER].index_select(0, positions)
