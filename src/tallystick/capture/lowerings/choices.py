"""Comparisons, logic, and operators that choose between elements."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.operands import Number, Operand, converted, pointwise, promoted, result_dtype
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.ir.builder import Register
from tallystick.spec.tensors import DType

aten = torch.ops.aten

INFINITY = 0x7F800000
BITS = 32

WordPair = Callable[[Point, Register, Register], Register]


# COMPARISONS
def comparison(ctx: Lowering, x: Operand, y: Operand, floats: WordPair, integers: WordPair) -> TensorView:
    dtype = promoted(ctx)
    return pointwise(ctx, floats if dtype in FLOATS else integers, x, y, compute=dtype)


@lowers(aten.eq.Tensor, aten.eq.Scalar)
def eq(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    return comparison(ctx, x, y, lambda b, x, y: b.feq(x, y), lambda b, x, y: b.ieq(x, y))


@lowers(aten.ne.Tensor, aten.ne.Scalar)
def ne(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    return comparison(ctx, x, y, lambda b, x, y: b.not_(b.feq(x, y)), lambda b, x, y: b.not_(b.ieq(x, y)))


@lowers(aten.lt.Tensor, aten.lt.Scalar)
def lt(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    return comparison(ctx, x, y, lambda b, x, y: b.flt(x, y), lambda b, x, y: b.ilt(x, y))


@lowers(aten.le.Tensor, aten.le.Scalar)
def le(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    return comparison(ctx, x, y, lambda b, x, y: b.fle(x, y), lambda b, x, y: b.not_(b.ilt(y, x)))


@lowers(aten.gt.Tensor, aten.gt.Scalar)
def gt(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    return comparison(ctx, x, y, lambda b, x, y: b.flt(y, x), lambda b, x, y: b.ilt(y, x))


@lowers(aten.ge.Tensor, aten.ge.Scalar)
def ge(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    return comparison(ctx, x, y, lambda b, x, y: b.fle(y, x), lambda b, x, y: b.not_(b.ilt(x, y)))


@lowers(aten.isnan.default)
def isnan(ctx: Lowering, x: TensorView) -> TensorView:
    if x.dtype not in FLOATS:
        return ctx.full(DType.BOOL, 0, x.shape)
    return pointwise(ctx, lambda b, x: b.is_nan(x), x, compute=x.dtype)


@lowers(aten.isinf.default)
def isinf(ctx: Lowering, x: TensorView) -> TensorView:
    if x.dtype not in FLOATS:
        return ctx.full(DType.BOOL, 0, x.shape)
    return pointwise(ctx, lambda b, x: b.feq(b.fabs(x), b.word(INFINITY)), x, compute=x.dtype)


@lowers(aten.isfinite.default)
def isfinite(ctx: Lowering, x: TensorView) -> TensorView:
    if x.dtype not in FLOATS:
        return ctx.full(DType.BOOL, 1, x.shape)
    return pointwise(ctx, lambda b, x: b.flt(b.fabs(x), b.word(INFINITY)), x, compute=x.dtype)


# LOGIC
@lowers(aten.logical_and.default)
def logical_and(ctx: Lowering, x: TensorView, y: TensorView) -> TensorView:
    return pointwise(ctx, lambda b, x, y: b.and_(x, y), x, y, compute=DType.BOOL)


@lowers(aten.logical_or.default)
def logical_or(ctx: Lowering, x: TensorView, y: TensorView) -> TensorView:
    return pointwise(ctx, lambda b, x, y: b.or_(x, y), x, y, compute=DType.BOOL)


@lowers(aten.logical_xor.default)
def logical_xor(ctx: Lowering, x: TensorView, y: TensorView) -> TensorView:
    return pointwise(ctx, lambda b, x, y: b.xor(x, y), x, y, compute=DType.BOOL)


@lowers(aten.logical_not.default)
def logical_not(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, lambda b, x: b.not_(x), x, compute=DType.BOOL)


@lowers(aten.bitwise_and.Tensor, aten.bitwise_and.Scalar)
def bitwise_and(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    return pointwise(ctx, lambda b, x, y: b.and_(x, y), x, y)


@lowers(aten.bitwise_or.Tensor, aten.bitwise_or.Scalar)
def bitwise_or(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    return pointwise(ctx, lambda b, x, y: b.or_(x, y), x, y)


@lowers(aten.bitwise_xor.Tensor, aten.bitwise_xor.Scalar)
def bitwise_xor(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    return pointwise(ctx, lambda b, x, y: b.xor(x, y), x, y)


@lowers(aten.bitwise_not.default)
def bitwise_not(ctx: Lowering, x: TensorView) -> TensorView:
    if x.dtype is DType.BOOL:
        return pointwise(ctx, lambda b, x: b.not_(x), x)
    return pointwise(ctx, lambda b, x: b.xor(x, b.word(-1)), x)


# By a negative amount, or by more bits than there are, everything is shifted out: all that is left is the sign.
@lowers(
    aten.bitwise_left_shift.Tensor,
    aten.bitwise_left_shift.Tensor_Scalar,
    aten.__lshift__.Tensor,
    aten.__lshift__.Scalar,
)
def shift_left(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    if not isinstance(y, TensorView):
        return pointwise(ctx, lambda b, x: b.shl(x, b.word(int(y))) if 0 <= y < BITS else b.word(0), x)
    return pointwise(ctx, lambda b, x, y: b.select(b.ult(y, b.word(BITS)), b.shl(x, y), b.word(0)), x, y)


@lowers(
    aten.bitwise_right_shift.Tensor,
    aten.bitwise_right_shift.Tensor_Scalar,
    aten.__rshift__.Tensor,
    aten.__rshift__.Scalar,
)
def shift_right(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    if not isinstance(y, TensorView):
        amount = int(y) if 0 <= y < BITS else BITS - 1
        return pointwise(ctx, lambda b, x: b.ashr(x, b.word(amount)), x)
    last = BITS - 1
    return pointwise(ctx, lambda b, x, y: b.ashr(x, b.select(b.ult(y, b.word(BITS)), y, b.word(last))), x, y)


# CHOICES
@lowers(aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf, aten.where.Scalar)
def where(ctx: Lowering, condition: TensorView, x: Operand, y: Operand) -> TensorView:
    dtype = result_dtype(ctx)
    views = [operand if isinstance(operand, TensorView) else ctx.full(dtype, operand) for operand in (x, y)]

    def element(b: Point, condition: Register, x: Register, y: Register) -> Register:
        words = (converted(b, w, view.dtype, dtype) for w, view in zip((x, y), views, strict=True))
        return b.select(condition, *words)

    return ctx.map(dtype, element, condition, *views)


@lowers(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def masked_fill(ctx: Lowering, x: TensorView, mask: TensorView, value: Operand) -> TensorView:
    return where(ctx, mask, value, x)


@lowers(aten.relu.default)
def relu(ctx: Lowering, x: TensorView) -> TensorView:
    floats = x.dtype in FLOATS
    return pointwise(ctx, lambda b, x: number_at_least(b, x, b.word(0), floats), x)


@lowers(aten.maximum.default)
def maximum(ctx: Lowering, x: TensorView, y: TensorView) -> TensorView:
    floats = result_dtype(ctx) in FLOATS
    return pointwise(ctx, lambda b, x, y: larger(b, x, y, floats), x, y)


@lowers(aten.minimum.default)
def minimum(ctx: Lowering, x: TensorView, y: TensorView) -> TensorView:
    floats = result_dtype(ctx) in FLOATS
    return pointwise(ctx, lambda b, x, y: smaller(b, x, y, floats), x, y)


@lowers(aten.clamp.default, aten.clamp.Tensor)
def clamp(ctx: Lowering, x: TensorView, low: Operand | None = None, high: Operand | None = None) -> TensorView:
    floats = result_dtype(ctx) in FLOATS
    bounds = [bound for bound in (low, high) if bound is not None]

    def element(b: Point, x: Register, *words: Register) -> Register:
        following = iter(words)
        if low is not None:
            x = at_least(b, x, next(following), floats and not is_number(low))
        if high is not None:
            x = at_most(b, x, next(following), floats and not is_number(high))
        return x

    def at_least(b: Point, x: Register, bound: Register, may_be_nan: bool) -> Register:
        return larger(b, x, bound, floats) if may_be_nan else number_at_least(b, x, bound, floats)

    def at_most(b: Point, x: Register, bound: Register, may_be_nan: bool) -> Register:
        return smaller(b, x, bound, floats) if may_be_nan else number_at_most(b, x, bound, floats)

    return pointwise(ctx, element, x, *bounds)


def is_number(bound: Operand) -> bool:
    """Whether a bound is a Python number other than NaN."""
    return not isinstance(bound, TensorView) and bound == bound


@lowers(aten.clamp_min.default)
def clamp_min(ctx: Lowering, x: TensorView, low: Number) -> TensorView:
    return clamp(ctx, x, low, None)


@lowers(aten.clamp_max.default)
def clamp_max(ctx: Lowering, x: TensorView, high: Number) -> TensorView:
    return clamp(ctx, x, None, high)


def number_at_least(b: Point, x: Register, bound: Register, floats: bool) -> Register:
    """The larger of x and a bound that is not NaN; NaN stays."""
    return b.select(b.flt(x, bound) if floats else b.ilt(x, bound), bound, x)


def number_at_most(b: Point, x: Register, bound: Register, floats: bool) -> Register:
    """The smaller of x and a bound that is not NaN; NaN stays."""
    return b.select(b.flt(bound, x) if floats else b.ilt(bound, x), bound, x)


def larger(b: Point, x: Register, y: Register, floats: bool) -> Register:
    """The larger of two words; NaN if one is."""
    if not floats:
        return b.select(b.ilt(x, y), y, x)
    return b.select(b.feq(x, x), b.select(b.fle(y, x), x, y), x)


def smaller(b: Point, x: Register, y: Register, floats: bool) -> Register:
    """The smaller of two words; NaN if one is."""
    if not floats:
        return b.select(b.ilt(x, y), x, y)
    return b.select(b.feq(x, x), b.select(b.fle(x, y), x, y), x)
