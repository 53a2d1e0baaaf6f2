"""Where an affine expression can lie, proved without visiting points.

Bounds are sound for every integer point and computed from the shape alone. Guards narrow them: any multiple of a
guard's expression may be taken out of the address and replaced by the guard's own range, so

    address <= sum_j(max(m_j * guard_j)) + max over the box of (address - sum_j(m_j * guard_j))

for all multipliers m. This is the dual of a linear program; the bound is tightest where it makes a stride vanish, and
those multipliers are tried. A convolution's padding guards are proportional to their part of the address, so for
them the bound is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor, gcd

from tallystick.spec.views import Address, Guard

Interval = tuple[int, int]  # both ends included
Strides = tuple[int, ...]

ROUNDS = 2  # over the guards, choosing each multiplier given the others
GUARDS = 8  # on more than one axis that are made use of: bounds the time a hostile program can take


def box_of(shape: Sequence[int]) -> list[Interval]:
    """The range of every loop index."""
    return [(0, extent - 1) for extent in shape]


def affine_range(base: int, strides: Sequence[int], box: Sequence[Interval]) -> Interval:
    """The least and the greatest value of base + sum(strides * indices) over a box."""
    low = high = base
    for stride, (first, last) in zip(strides, box, strict=True):
        low += stride * (first if stride > 0 else last)
        high += stride * (last if stride > 0 else first)
    return low, high


def open_range(address: Address, shape: Sequence[int]) -> Interval | None:
    """Bounds of an address's affine part over the points where its guards are open; None if that is nowhere."""
    box = box_of(shape)
    bounds: dict[Strides, Interval] = {}
    for guard in address.guards:
        narrowed = normal_form(guard)
        if narrowed is None:
            return None
        strides, interval = narrowed
        bounds[strides] = intersect(bounds.get(strides, interval), interval)
    for strides, interval in bounds.items():
        axes = [axis for axis, stride in enumerate(strides) if stride]
        if len(axes) == 1:  # a guard on one axis narrows the box itself
            box[axes[0]] = intersect(box[axes[0]], interval)
    if any(first > last for first, last in box):
        return None
    constraints: list[tuple[Strides, Interval]] = []
    for strides, interval in bounds.items():
        first, last = intersect(interval, affine_range(0, strides, box))
        if first > last:
            return None
        if sum(stride != 0 for stride in strides) > 1 and len(constraints) < GUARDS:
            constraints.append((strides, (first, last)))
    high = greatest(address.strides, box, constraints)
    low = -greatest([-stride for stride in address.strides], box, constraints)
    return address.base + low, address.base + high


def normal_form(guard: Guard) -> tuple[Strides, Interval] | None:
    """A guard as ``low <= sum(strides * indices) <= high`` with coprime strides, the first of them positive.

    Guards that bound the same expression get the same strides. None if the guard is closed whatever the indices are.
    """
    divisor = gcd(*guard.strides)
    if divisor == 0:
        return (guard.strides, (0, 0)) if 0 <= guard.base < guard.limit else None
    low, high = -guard.base, guard.limit - 1 - guard.base
    if next(stride for stride in guard.strides if stride) < 0:
        divisor, low, high = -divisor, -high, -low
    strides = tuple(stride // divisor for stride in guard.strides)
    divisor = abs(divisor)
    interval = (-(-low // divisor), high // divisor)
    return (strides, interval) if interval[0] <= interval[1] else None


def intersect(a: Interval, b: Interval) -> Interval:
    return max(a[0], b[0]), min(a[1], b[1])


def greatest(strides: Sequence[int], box: Sequence[Interval], constraints: Sequence[tuple[Strides, Interval]]) -> int:
    """An upper bound of sum(strides * indices) over the points of a box that meet the constraints.

    Multipliers are chosen one after the other. Which one comes first can matter, so each gets its turn.
    """
    bound = affine_range(0, strides, box)[1]
    for first in range(len(constraints)):
        order = [constraints[first], *constraints[:first], *constraints[first + 1 :]]
        bound = min(bound, descend(strides, box, order))
    return bound


def descend(strides: Sequence[int], box: Sequence[Interval], constraints: Sequence[tuple[Strides, Interval]]) -> int:
    """The bound of multipliers each of which is the best given those chosen before it."""
    residual = [Fraction(stride) for stride in strides]
    multipliers = [Fraction(0)] * len(constraints)
    for _ in range(ROUNDS):
        for j, (guard, interval) in enumerate(constraints):
            residual = [r + multipliers[j] * g for r, g in zip(residual, guard, strict=True)]
            multipliers[j] = best_multiplier(residual, guard, interval, box)
            residual = [r - multipliers[j] * g for r, g in zip(residual, guard, strict=True)]
    total = sum(
        (max(m * low, m * high) for m, (_, (low, high)) in zip(multipliers, constraints, strict=True)), Fraction()
    )
    for r, (first, last) in zip(residual, box, strict=True):
        total += r * (last if r > 0 else first)
    return floor(total)


def best_multiplier(
    residual: Sequence[Fraction], guard: Strides, interval: Interval, box: Sequence[Interval]
) -> Fraction:
    """The m for which max(m * guard) + max(residual - m * guard) is least.

    The sum is convex in m and linear between the points where a stride vanishes: walk over these, adding what each
    changes of the slope, until it rises.
    """
    low, high = interval
    slope = low
    bends = [(Fraction(0), high - low)]
    for r, g, (first, last) in zip(residual, guard, box, strict=True):
        if g:
            slope -= g * (last if g > 0 else first)
            bends.append((r / g, abs(g) * (last - first)))
    for multiplier, change in sorted(bends):
        slope += change
        if slope >= 0:
            return multiplier
    raise AssertionError("the slope ends at or above 0, for the interval meets the box")
