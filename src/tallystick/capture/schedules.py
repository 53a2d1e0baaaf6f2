"""Learning-rate schedules: functions from the step number to a factor on the learning rate.

Any Python function will do; it is called once per step while a job is captured, never while it runs. Schedules here
are dataclasses, so that they print as what they are. No PyTorch is needed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from tallystick.errors import CaptureError

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class _Warmup(ABC):
    """A linear rise over the first ``warmup`` steps, then a decay to ``floor`` that is reached after ``steps``."""

    steps: int
    warmup: int = 0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= self.steps or self.steps < 1:
            raise CaptureError(f"a schedule of {self.steps} steps cannot warm up for {self.warmup}")
        if not 0.0 <= self.floor <= 1.0:
            raise CaptureError(f"a schedule's floor is a fraction of the learning rate, not {self.floor}")

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.floor + (1.0 - self.floor) * self.decay(progress)

    @abstractmethod
    def decay(self, progress: float) -> float:
        """From 1 at progress 0 to 0 at progress 1."""


@dataclass(frozen=True)
class WarmupCosine(_Warmup):
    """Half a cosine from 1 down to the floor."""

    def decay(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class WarmupLinear(_Warmup):
    """A straight line from 1 down to the floor."""

    def decay(self, progress: float) -> float:
        return 1.0 - progress


def warmup_cosine(steps: int, warmup: int = 0, floor: float = 0.0) -> Schedule:
    """Rise linearly to 1 over ``warmup`` steps, then follow half a cosine down to ``floor`` at step ``steps``."""
    return WarmupCosine(steps, warmup, floor)


def warmup_linear(steps: int, warmup: int = 0, floor: float = 0.0) -> Schedule:
    """Rise linearly to 1 over ``warmup`` steps, then fall linearly to ``floor`` at step ``steps``."""
    return WarmupLinear(steps, warmup, floor)


def evaluate(schedule: Schedule | None, steps: int) -> list[float]:
    """The factor of every step, in double precision.

    Raises: CaptureError where the schedule does not return a finite number.
    """
    if schedule is None:
        return [1.0] * steps
    factors: list[float] = []
    for step in range(steps):
        factor = schedule(step)
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not math.isfinite(factor):
            raise CaptureError(f"the schedule returned {factor!r} for step {step}; it must return a finite number")
        factors.append(float(factor))
    return factors
