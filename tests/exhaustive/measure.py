"""Errors in ulps, and what else can be wrong with a result."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exhaustive.functions import Doubles, Function

Words = NDArray[np.uint32]
CANONICAL_NAN = 0x7FC00000
REFERENCE_ERROR = 2.0**-20  # ulps of binary32 that the reference itself may be off, with plenty to spare
OVERFLOW = 2.0**128  # what an infinite result counts as
_EXPONENT = np.uint64(0x7FF0000000000000)


def errors_in_ulps(results: NDArray[np.float32], reference: Doubles) -> Doubles:
    """|results - reference| in units of the last binary32 place of the reference."""
    exact = np.clip(reference, -OVERFLOW, OVERFLOW)
    exponent = (exact.view(np.uint64) & _EXPONENT).view(np.int64)
    ulp = np.clip((exponent - (23 << 52)).view(np.float64), 2.0**-149, 2.0**104)
    return np.abs(np.clip(results.astype(np.float64), -OVERFLOW, OVERFLOW) - exact) / ulp


@dataclass
class Figures:
    """What was found over some inputs.

    ``worst``       largest error in ulps, at the operands ``worst_at``; nearest floats count as half an ulp off
    ``worst_huge``  the same for operands that are huge to the function
    ``inputs``      how many were tried; ``numbers`` of them have a result that is not NaN
    ``rounded``     how many of these results are the float nearest to the reference
    ``decreasing``  how often a result was below that of a smaller input, where that was looked at
    ``wrong``       sentences about results that no error bound excuses
    """

    worst: float = 0.5
    worst_at: tuple[int, ...] = ()
    worst_huge: float = 0.5
    inputs: int = 0
    numbers: int = 0
    rounded: int = 0
    decreasing: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        if other.worst > self.worst:
            self.worst, self.worst_at = other.worst, other.worst_at
        self.worst_huge = max(self.worst_huge, other.worst_huge)
        self.inputs += other.inputs
        self.numbers += other.numbers
        self.rounded += other.rounded
        self.decreasing += other.decreasing
        self.wrong = [*self.wrong, *other.wrong][:20]


def measure(function: Function, operands: tuple[Words, ...], results: Words, reference: Doubles) -> Figures:
    """Compare a function's result words with the reference."""
    undefined = np.isnan(reference)
    nearest = reference.astype(np.float32).view(np.uint32)
    if undefined.any():
        nearest[undefined] = CANONICAL_NAN
    figures = Figures(inputs=len(results), numbers=len(results) - int(np.count_nonzero(undefined)))
    different = np.flatnonzero(results != nearest)
    figures.rounded = figures.numbers - len(different)
    if len(different):
        at = tuple(operand[different] for operand in operands)
        examine(figures, function.huge, at, results[different], reference[different])
    return figures


def examine(figures: Figures, huge: float, operands: tuple[Words, ...], results: Words, reference: Doubles) -> None:
    """Say how far results are from the reference that are not the nearest float."""
    floats = results.view(np.float32)
    undefined = np.isnan(reference)
    problems = {
        "should be the canonical NaN": undefined,
        "should not be NaN": ~undefined & np.isnan(floats),
        "should have the other sign": ~undefined & (np.signbit(floats) != np.signbit(reference)),
        "should be exact": (reference == 0) | np.isinf(reference),
    }
    for problem, where in problems.items():
        if where.any():
            first = int(np.argmax(where))
            inputs = ", ".join(f"0x{int(operand[first]):08x}" for operand in operands)
            figures.wrong.append(f"0x{int(results[first]):08x} {problem} at ({inputs})")
    errors = errors_in_ulps(floats, reference)
    errors[np.isnan(errors)] = 0.0  # a problem already
    is_huge = np.abs(operands[0].view(np.float32)) >= huge
    figures.worst_huge = max(figures.worst_huge, float(errors.max(where=is_huge, initial=0.0)))
    errors[is_huge] = 0.0
    worst = int(errors.argmax())
    if errors[worst] > figures.worst:
        figures.worst = float(errors[worst])
        figures.worst_at = tuple(int(operand[worst]) for operand in operands)


def count_decreasing(floats: NDArray[np.float32]) -> int:
    """How often a result is below the one before it. NaN is never below anything."""
    return int(np.count_nonzero(floats[1:] < floats[:-1]))


def complaints(function: Function, figures: Figures) -> list[str]:
    """What a function was not allowed to do."""
    found = list(figures.wrong)
    if figures.worst > function.bar + REFERENCE_ERROR:
        found.append(f"off by {figures.worst:.3f} ulp at {[hex(word) for word in figures.worst_at]}")
    if figures.worst_huge > 2 * function.bar + REFERENCE_ERROR:
        found.append(f"off by {figures.worst_huge:.3f} ulp for huge operands")
    if function.monotone and figures.decreasing:
        found.append(f"decreases {figures.decreasing} times")
    return found
