"""Where an affine expression can lie, proved without visiting points.

Bounds are sound for every integer point and computed from the shape alone. Guards narrow them: the greatest value of an
address where its guards are open is at most the greatest over all real points of the loops that meet the guards, which
is a linear program of at most eight variables. A convolution's padding guards bound the parts its address is made of,
so for them the bound is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd

from tallystick.spec.views import Address, Guard

Interval = tuple[int, int]  # both ends included
Strides = tuple[int, ...]

PIVOTS = 40  # bounds the time a hostile program can take; real addresses need a handful


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
        if sum(stride != 0 for stride in strides) > 1:
            constraints.append((strides, (first, last)))
    high = greatest(address.strides, box, constraints)
    low = greatest([-stride for stride in address.strides], box, constraints)
    if high is None or low is None:
        return None
    return address.base - low, address.base + high


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


def greatest(
    strides: Sequence[int], box: Sequence[Interval], constraints: Sequence[tuple[Strides, Interval]]
) -> int | None:
    """An upper bound of sum(strides * indices) over the points of a box that meet the constraints; None if none does.

    It is the greatest value over real points, rounded down, unless that takes more than PIVOTS pivots.
    """
    tableau = Tableau(strides, box, constraints)
    for _ in range(PIVOTS):
        row = tableau.most_broken()
        if row is None:
            break
        column = tableau.cheapest(row)
        if column is None:
            return None
        tableau.pivot(row, column)
    return tableau.bound


class Tableau:
    """A linear program in the making: maximise a sum over a box under constraints, by the dual simplex method.

    It starts in the corner of the box that is best for the sum; its variables are the distances from there, which are
    not negative. A row ``[rest, factors...]`` stands for the number ``(rest - sum(factors * variables)) / unit``. The
    first is the sum; its factors are never negative, so its rest is an upper bound. The others are numbers that must
    not be negative; one whose rest is negative is broken. A pivot makes a broken row a variable and a variable a row,
    and keeps the first row's factors from becoming negative, so that every pivot gives a bound, and none a greater one.

    All entries are integers: ``unit`` is the last pivot's factor, by which the next pivot divides without remainder.
    """

    def __init__(
        self, strides: Sequence[int], box: Sequence[Interval], constraints: Sequence[tuple[Strides, Interval]]
    ) -> None:
        corner = [last if stride > 0 else first for stride, (first, last) in zip(strides, box, strict=True)]
        away = [-1 if stride > 0 else 1 for stride in strides]  # how an index changes with the distance

        def at_corner(factors: Sequence[int]) -> int:
            return sum(factor * index for factor, index in zip(factors, corner, strict=True))

        self.unit = 1
        self.rows = [[at_corner(strides), *(abs(stride) for stride in strides)]]
        for axis, (first, last) in enumerate(box):
            self.rows.append([last - first, *(int(axis == other) for other in range(len(box)))])
        for guard, (low, high) in constraints:
            here = at_corner(guard)
            factors = [stride * sign for stride, sign in zip(guard, away, strict=True)]
            self.rows.append([high - here, *factors])
            self.rows.append([here - low, *(-factor for factor in factors)])

    @property
    def bound(self) -> int:
        """What the sum cannot exceed, where indices are integers."""
        return self.rows[0][0] // self.unit

    def most_broken(self) -> int | None:
        """The row with the most negative rest, if one is negative."""
        row = min(range(1, len(self.rows)), key=lambda number: self.rows[number][0], default=None)
        return row if row is not None and self.rows[row][0] < 0 else None

    def cheapest(self, row: int) -> int | None:
        """The variable that mends a row at the least cost. If none does, the constraints exclude each other."""
        factors = self.rows[row]
        mending = [column for column in range(1, len(factors)) if factors[column] < 0]
        return min(mending, key=lambda column: Fraction(self.rows[0][column], -factors[column]), default=None)

    def pivot(self, row: int, column: int) -> None:
        """Solve a row for a variable and put the solution in its place in all other rows."""
        solved = self.rows[row]
        factor, unit = -solved[column], self.unit
        for number, entries in enumerate(self.rows):
            if number != row:
                times = entries[column]
                self.rows[number] = [
                    (entry * factor + times * part) // unit for entry, part in zip(entries, solved, strict=True)
                ]
                self.rows[number][column] = times
        self.rows[row] = [-part for part in solved]
        self.rows[row][column] = -unit
        self.unit = factor
