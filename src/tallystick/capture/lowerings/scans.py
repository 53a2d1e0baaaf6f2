"""Running extremes and running log-sums; running sums and products are in ``reduction.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.lowerings.reduction import GREATEST, LEAST, accumulator_dtype
from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.operands import cast
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.ir import elementary
from tallystick.ir.builder import Register, float_word
from tallystick.spec.tensors import DType

aten = torch.ops.aten

INFINITY = float("inf")


@lowers(aten.cummax.default)
def cummax(ctx: Lowering, x: TensorView, dim: int) -> tuple[TensorView, TensorView]:
    start = float_word(-INFINITY) if x.dtype in FLOATS else LEAST
    return running_extreme(ctx, x, dim, start, lambda b, old, new: (old, new))


@lowers(aten.cummin.default)
def cummin(ctx: Lowering, x: TensorView, dim: int) -> tuple[TensorView, TensorView]:
    start = float_word(INFINITY) if x.dtype in FLOATS else GREATEST
    return running_extreme(ctx, x, dim, start, lambda b, old, new: (new, old))


def running_extreme(
    ctx: Lowering, x: TensorView, dim: int, start: int, ordered: Callable[..., tuple[Register, Register]]
) -> tuple[TensorView, TensorView]:
    """The extreme so far and where it is: the last of equals, the last NaN once there is one."""
    if x.rank == 0 or x.shape[x.dim(dim)] == 1:
        return x, ctx.word(DType.I32, 0, x.shape)
    dim = x.dim(dim)
    floats = x.dtype in FLOATS

    def body(b: Point, acc: Sequence[Register], x: Register) -> tuple[Register, Register]:
        low, high = ordered(b, acc[0], x)
        if floats:
            takes = b.or_(b.is_nan(x), b.and_(b.fle(low, high), b.feq(acc[0], acc[0])))
        else:
            takes = b.not_(b.ilt(high, low))
        return b.select(takes, x, acc[0]), b.select(takes, b.index(dim), acc[1])

    values, places = ctx.scan([x], dim, [start, 0], body, [accumulator_dtype(x.dtype), DType.I32])
    return cast(ctx, values, x.dtype), places


@lowers(aten.logcumsumexp.default)
def logcumsumexp(ctx: Lowering, x: TensorView, dim: int) -> TensorView:
    """log of the running sum of exp(x): the largest so far, and the sum of exp of what the others lack to it."""
    if x.rank == 0 or x.shape[x.dim(dim)] == 1:
        return x

    def body(b: Point, acc: Sequence[Register], x: Register) -> tuple[Register, Register]:
        most, total = acc
        grows = b.or_(b.flt(most, x), b.is_nan(x))
        larger, smaller = b.select(grows, x, most), b.select(grows, most, x)
        # Of two equal infinities the difference counts as 0.
        lack = b.select(b.feq(smaller, larger), b.float(0.0), b.fsub(smaller, larger))
        share = elementary.exp(b, lack)
        one = b.float(1.0)
        return larger, b.select(grows, b.ffma(total, share, one), b.fadd(total, share))

    most, total = ctx.scan([x], dim, [float_word(-INFINITY), 0], body, [DType.F32, DType.F32])

    def element(b: Point, most: Register, total: Register) -> Register:
        infinite = b.feq(b.fabs(most), b.float(INFINITY))
        return b.select(infinite, most, b.fadd(most, elementary.log(b, total)))

    return ctx.map(x.dtype, element, most, total)
