"""Affine index arithmetic: how the axes of one loop nest follow from the axes of another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import add
from typing import NamedTuple

KNOWN = 4096  # results kept of what depends on a few numbers only

Scalar = int
"""A scalar expression: its number in a ``ScalarGraph``."""


class Affine(NamedTuple):
    """base + sum(strides * axes) + sum(stride * scalar), over the axes of one loop nest.

    ``computed`` pairs strides with scalar expressions over the same axes; it is empty in a purely affine form.
    A tuple, as capture makes, compares and hashes hundreds of thousands.
    """

    base: int
    strides: tuple[int, ...]
    computed: tuple[tuple[int, Scalar], ...] = ()

    @property
    def is_constant(self) -> bool:
        return not self.computed and not any(self.strides)

    def plus(self, other: Affine) -> Affine:
        assert len(self.strides) == len(other.strides), "forms over the same axes"
        strides = tuple(map(add, self.strides, other.strides))
        return Affine(self.base + other.base, strides, self.computed + other.computed)

    def shifted(self, offset: int) -> Affine:
        return Affine(self.base + offset, self.strides, self.computed) if offset else self

    def scaled(self, factor: int) -> Affine:
        if factor == 1:
            return self
        if factor == 0:
            return constant(0, len(self.strides))
        computed = tuple([(factor * stride, scalar) for stride, scalar in self.computed])
        return Affine(factor * self.base, tuple([factor * stride for stride in self.strides]), computed)

    def bounds(self, extents: Sequence[int]) -> tuple[int, int]:
        """Least and greatest value over all points of a loop nest; only for a purely affine form."""
        assert not self.computed, "a computed form has no static bounds"
        low = high = self.base
        for stride, extent in zip(self.strides, extents, strict=True):
            if stride < 0:
                low += stride * (extent - 1)
            else:
                high += stride * (extent - 1)
        return low, high


class Bound(NamedTuple):
    """Open where 0 <= form < limit."""

    form: Affine
    limit: int


def constant(value: int, axes: int) -> Affine:
    return Affine(value, (0,) * axes)


def axis(number: int, axes: int, stride: int = 1) -> Affine:
    """stride times one axis out of several."""
    return Affine(0, (0,) * number + (stride,) + (0,) * (axes - number - 1))


@lru_cache(maxsize=KNOWN)
def identity(axes: int) -> tuple[Affine, ...]:
    """Every axis as itself."""
    return tuple(axis(i, axes) for i in range(axes))


def total(forms: Sequence[Affine], axes: int) -> Affine:
    """Sum of forms over the same axes."""
    result = constant(0, axes)
    for form in forms:
        result = result.plus(form)
    return result


@lru_cache(maxsize=KNOWN)
def row_major(extents: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a dense tensor."""
    strides = [1] * len(extents)
    for i in range(len(extents) - 2, -1, -1):
        strides[i] = strides[i + 1] * extents[i + 1]
    return tuple(strides)
