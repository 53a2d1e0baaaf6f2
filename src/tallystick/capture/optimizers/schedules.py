"""Learning-rate schedules: functions from the number of updates so far to a factor on the learning rate.

Any Python function will do; it is called once per update while a job is captured, never while it runs. Schedules here
are dataclasses, so that they print as what they are. No PyTorch is needed.

A warm-up of n updates rises from 1/n to 1, so that the first update moves something.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
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
    """``cycles`` times half a cosine from 1 down to the floor."""

    cycles: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("cycles", self.cycles, 1)

    def decay(self, progress: float) -> float:
        if progress >= 1.0:
            return 0.0
        return 0.5 * (1.0 + math.cos(math.pi * ((self.cycles * progress) % 1.0)))


@dataclass(frozen=True)
class WarmupPolynomial(_Warmup):
    """A power of the way that is left, from 1 down to the floor; a straight line for power 1."""

    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("power", self.power)

    def decay(self, progress: float) -> float:
        return (1.0 - progress) ** self.power


@dataclass(frozen=True)
class WarmupConstant:
    """A linear rise, then 1."""

    warmup: int = 0

    def __post_init__(self) -> None:
        require_count("warmup", self.warmup, 0)

    def __call__(self, step: int) -> float:
        return (step + 1) / self.warmup if step < self.warmup else 1.0


@dataclass(frozen=True)
class WarmupInverseSqrt:
    """A linear rise, then 1 / sqrt of the steps over ``timescale``."""

    warmup: int
    timescale: int

    def __post_init__(self) -> None:
        require_count("warmup", self.warmup, 0)
        require_count("timescale", self.timescale, 1)

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 1.0 / math.sqrt((step - self.warmup + self.timescale) / self.timescale)


@dataclass(frozen=True)
class Steps:
    """``gamma`` more often the more milestones lie behind."""

    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        require_positive("gamma", self.gamma)
        if not self.milestones or any(a > b for a, b in zip(self.milestones, self.milestones[1:], strict=False)):
            raise CaptureError(
                f"milestones are numbers of updates in rising order, such as (300, 450): {self.milestones}"
            )

    def __call__(self, step: int) -> float:
        return self.gamma ** bisect_right(self.milestones, step)


@dataclass(frozen=True)
class Exponential:
    """``gamma`` once per ``every`` updates."""

    gamma: float
    every: int = 1

    def __post_init__(self) -> None:
        require_positive("gamma", self.gamma)
        require_count("every", self.every, 1)

    def __call__(self, step: int) -> float:
        return self.gamma ** (step // self.every)


@dataclass(frozen=True)
class OneCycle:
    """Up half a cosine to 1 within ``rise`` of the way, and down half a cosine to almost nothing."""

    steps: int
    rise: float = 0.3
    start: float = 1 / 25
    floor: float = 1 / 25e4

    def __post_init__(self) -> None:
        require_count("steps", self.steps, 2)
        if not 0.0 < self.rise < 1.0 or not 0.0 <= self.start <= 1.0 or not 0.0 <= self.floor <= 1.0:
            raise CaptureError("rise, start and floor of a cycle are fractions between 0 and 1")

    def __call__(self, step: int) -> float:
        peak, last = self.rise * self.steps - 1, self.steps - 1
        if step <= peak:
            return half_cosine(self.start, 1.0, step / peak if peak else 1.0)
        return half_cosine(1.0, self.floor, min(1.0, (step - peak) / (last - peak)))


def half_cosine(a: float, b: float, progress: float) -> float:
    """From a to b along half a cosine."""
    return b + (a - b) / 2 * (1.0 + math.cos(math.pi * progress))


def warmup_constant(warmup: int) -> Schedule:
    """Rise linearly to 1 over ``warmup`` updates, and stay there."""
    return WarmupConstant(warmup)


def warmup_cosine(steps: int, warmup: int = 0, floor: float = 0.0, cycles: int = 1) -> Schedule:
    """Rise linearly to 1 over ``warmup`` updates, then follow half a cosine down to ``floor`` at update ``steps``.

    With ``cycles`` the cosine starts anew so many times on the way (hard restarts).
    """
    return WarmupCosine(steps, warmup, floor, cycles)


def warmup_linear(steps: int, warmup: int = 0, floor: float = 0.0) -> Schedule:
    """Rise linearly to 1 over ``warmup`` updates, then fall linearly to ``floor`` at update ``steps``."""
    return WarmupPolynomial(steps, warmup, floor)


def warmup_polynomial(steps: int, warmup: int = 0, floor: float = 0.0, power: float = 2.0) -> Schedule:
    """Rise linearly to 1 over ``warmup`` updates, then fall with a power of the way left to ``floor`` at ``steps``."""
    return WarmupPolynomial(steps, warmup, floor, power)


def warmup_inverse_sqrt(warmup: int, timescale: int | None = None) -> Schedule:
    """Rise linearly to 1 over ``warmup`` updates, then fall as 1 / sqrt(1 + updates since / timescale).

    ``timescale`` is the warm-up if it is not given.
    """
    return WarmupInverseSqrt(warmup, max(1, warmup) if timescale is None else timescale)


def multi_step(*milestones: int, gamma: float = 0.1) -> Schedule:
    """Multiply by ``gamma`` at each of these updates, as ``MultiStepLR``."""
    return Steps(milestones, gamma)


def exponential(gamma: float, every: int = 1) -> Schedule:
    """Multiply by ``gamma`` after every ``every`` updates, as ``ExponentialLR`` and ``StepLR``."""
    return Exponential(gamma, every)


def one_cycle(steps: int, rise: float = 0.3, start: float = 1 / 25, floor: float = 1 / 25e4) -> Schedule:
    """One cycle over ``steps`` updates, as ``OneCycleLR`` with ``lr`` as its ``max_lr``; momentum stays as it is."""
    return OneCycle(steps, rise, start, floor)


def evaluate(schedule: Schedule | None, steps: int) -> list[float]:
    """The factor of every update, in double precision.

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


def require_count(name: str, value: int, least: int) -> None:
    """Raises: CaptureError unless it is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise CaptureError(f"a schedule's {name} must be a whole number of at least {least}, not {value!r}")


def require_positive(name: str, value: float) -> None:
    """Raises: CaptureError unless it is a positive finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < math.inf:
        raise CaptureError(f"a schedule's {name} must be a positive number, not {value!r}")
