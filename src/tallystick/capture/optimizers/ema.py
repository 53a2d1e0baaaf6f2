"""Exponential moving averages of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tallystick.capture.optimizers.optimizer import require
from tallystick.errors import CaptureError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EMA:
    """The average of every trained parameter: after an update it moves 1 - ``decay`` of the way to the parameter.

    The first update starts it with the parameter itself, as ``torch.optim.swa_utils.AveragedModel`` with
    ``get_ema_multi_avg_fn(decay)``. ``warmup`` lowers the decay of early updates to (1 + n) / (10 + n) after n
    of them, so that the start is soon forgotten.
    """

    decay: float = 0.999
    warmup: bool = False

    def __post_init__(self) -> None:
        require("decay", self.decay, 0.0, 1.0)

    @staticmethod
    def of(given: object) -> EMA | None:
        """What a job's ``ema`` means: a number is a decay. Raises: CaptureError for anything else."""
        if given is None or isinstance(given, EMA):
            return given
        if isinstance(given, bool) or not isinstance(given, (int, float)):
            raise CaptureError(f"ema is a decay such as 0.999, or ts.optim.EMA(0.999, warmup=True), not {given!r}")
        return EMA(given)

    def weights(self, updates: int) -> np.ndarray:
        """How far the average moves at every update, float32."""
        counts = np.arange(updates, dtype=np.float64)
        decays = np.minimum(self.decay, (1.0 + counts) / (10.0 + counts)) if self.warmup else counts * 0 + self.decay
        decays[:1] = 0.0
        return (1.0 - decays).astype(np.float32)


def averaged(average: Tensor, p: Tensor, weight: Tensor) -> Tensor:
    """``average.lerp(p, weight)``: whichever form is exact at its nearer end."""
    way = p - average
    return (average + weight * way).where(weight < 0.5, p - (1.0 - weight) * way)
