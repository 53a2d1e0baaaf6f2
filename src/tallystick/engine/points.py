"""Where in its loops a piece of generated code stands, and affine expressions of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llvmlite import ir

from tallystick.engine.loops import i64
from tallystick.engine.words import I32, I64, LaneNumbers, lanes_of, splat_constant, vector


@dataclass(frozen=True, slots=True)
class AxisIndex:
    """The index of one axis in every lane: ``scalar + lane`` if ``linear``, else ``scalar``; or ``wide`` as given.

    ``scalar`` is an i64, ``wide`` a vector of i32, `LaneNumbers` where known.
    """

    scalar: ir.Value | None = None
    linear: bool = False
    wide: ir.Value | None = None


ZERO = AxisIndex(i64(0))


@dataclass(frozen=True, slots=True)
class Flat:
    """Several axes walked as one: lanes are consecutive row-major points of them, from number ``scalar`` on.

    Their single indices are ``wide``; an address that is dense over them (``strides`` times a factor) needs none.
    """

    axes: tuple[int, ...]
    strides: tuple[int, ...]
    scalar: ir.Value


@dataclass(frozen=True, slots=True)
class Point:
    """Indices of all axes for ``lanes`` points at once, and which of those lanes count (None: all).

    ``within`` is what is known of one axis: (axis, lowest, highest index) of the lanes that count.
    """

    axes: tuple[AxisIndex, ...]
    lanes: int = 1
    mask: ir.Value | None = None
    flat: Flat | None = None
    within: tuple[int, int, int] | None = None

    def with_axis(self, axis: int, index: AxisIndex) -> Point:
        axes = list(self.axes)
        axes[axis] = index
        return replace(self, axes=tuple(axes))


@dataclass(frozen=True, slots=True)
class Affine:
    """base + sum(strides * indices) at a point: ``scalar + lane * step + wide``. ``wide`` is a vector of i32 or i64."""

    scalar: ir.Value
    step: int = 0
    wide: ir.Value | None = None

    @property
    def varies(self) -> bool:
        return self.step != 0 or self.wide is not None


def affine(builder: ir.IRBuilder, base: int, strides: Sequence[int], point: Point, extents: Sequence[int]) -> Affine:
    """An affine expression of the indices of a point. The verifier has shown that its sums fit 64 bits."""
    scalar: ir.Value = i64(base)
    step = 0
    strides = list(strides)
    if point.flat is not None:
        factor = _dense_factor(point.flat, strides)
        if factor is not None:
            scalar = add(builder, scalar, times(builder, point.flat.scalar, factor))
            step = factor
            for axis in point.flat.axes:
                strides[axis] = 0
    known = [0] * point.lanes  # what lanes add, as far as it is known now
    farthest = sum(abs(stride) * (extent - 1) for stride, extent in zip(strides, extents, strict=True))
    element = I32 if farthest < 1 << 31 else I64
    wide: ir.Value | None = None
    for stride, axis in zip(strides, point.axes, strict=True):
        if stride == 0:
            continue
        if axis.scalar is not None:
            scalar = add(builder, scalar, times(builder, axis.scalar, stride))
        if axis.linear:
            step += stride
        if isinstance(axis.wide, LaneNumbers):
            known = [number + stride * index for number, index in zip(known, axis.wide.numbers, strict=True)]
        elif axis.wide is not None:
            index = axis.wide if element == I32 else builder.zext(axis.wide, vector(I64, point.lanes))
            part = builder.mul(index, splat_constant(element, stride, point.lanes)) if stride != 1 else index
            wide = part if wide is None else builder.add(wide, part)
    return _with_known(builder, Affine(scalar, step, wide), known)


def _with_known(builder: ir.IRBuilder, value: Affine, known: list[int]) -> Affine:
    """An affine expression and numbers known for each lane together: evenly spaced ones are a step."""
    scalar = add(builder, value.scalar, i64(known[0]))
    step = known[1] - known[0] if len(known) > 1 else 0
    if known == [known[0] + lane * step for lane in range(len(known))]:
        return Affine(scalar, value.step + step, value.wide)
    rest = LaneNumbers([number - known[0] + lane * value.step for lane, number in enumerate(known)])
    if value.wide is None:
        return Affine(scalar, 0, rest)
    wide = vector(max(rest.type.element, value.wide.type.element, key=lambda type: type.width), len(known))
    return Affine(scalar, 0, builder.add(extended(builder, rest, wide), extended(builder, value.wide, wide)))


def reach(base: int, strides: Sequence[int], point: Point, extents: Sequence[int]) -> tuple[int, int]:
    """The lowest and highest value an affine expression may have at a point."""
    low = high = base
    for axis, (stride, extent) in enumerate(zip(strides, extents, strict=True)):
        first, last = (0, extent - 1) if point.within is None or point.within[0] != axis else point.within[1:]
        low += min(stride * first, stride * last)
        high += max(stride * first, stride * last)
    return low, high


def _dense_factor(flat: Flat, strides: Sequence[int]) -> int | None:
    """The factor by which strides over flattened axes are those of a dense tensor, or None if they are not."""
    factor = strides[flat.axes[-1]]
    dense = all(strides[axis] == factor * stride for axis, stride in zip(flat.axes, flat.strides, strict=True))
    return factor if dense else None


def times(builder: ir.IRBuilder, index: ir.Value, factor: int) -> ir.Value:
    """An i64 times a known factor."""
    if isinstance(index, ir.Constant):
        return i64(index.constant * factor)
    if factor == 0:
        return i64(0)
    return index if factor == 1 else builder.mul(index, i64(factor))


def add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The sum of two i64."""
    if isinstance(a, ir.Constant) and isinstance(b, ir.Constant):
        return i64(a.constant + b.constant)
    if isinstance(a, ir.Constant) and a.constant == 0:
        return b
    if isinstance(b, ir.Constant) and b.constant == 0:
        return a
    return builder.add(a, b)


def lane_offsets(builder: ir.IRBuilder, place: Affine, lanes: int) -> ir.Value:
    """What a varying affine expression adds to its scalar part in each lane: a vector of i32 or i64."""
    steps = LaneNumbers([place.step * lane for lane in range(lanes)])
    if place.wide is None:
        return steps
    if place.step == 0:
        return place.wide
    common = vector(max(steps.type.element, place.wide.type.element, key=lambda type: type.width), lanes)
    return builder.add(extended(builder, steps, common), extended(builder, place.wide, common))


def extended(builder: ir.IRBuilder, value: ir.Value, type: ir.Type) -> ir.Value:
    """An integer or vector of them, sign-extended to a type if it is narrower."""
    return value if value.type == type else builder.sext(value, type)


def whole(builder: ir.IRBuilder, place: Affine, lanes: int, splat: ir.Value) -> ir.Value:
    """A varying affine expression as a vector of i64. ``splat`` is its scalar part in every lane."""
    assert lanes_of(splat) == lanes, "the scalar part is broadcast"
    return builder.add(splat, extended(builder, lane_offsets(builder, place, lanes), vector(I64, lanes)))
