"""Sums, products, quotients, rounding and other arithmetic, element by element."""

from __future__ import annotations

import torch

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.operands import Number, Operand, converted, pointwise, result_dtype
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.ir.builder import Register
from tallystick.spec.tensors import DType

aten = torch.ops.aten

SIGN = 0x80000000
FMOD_STAGES = 3


# SUMS AND PRODUCTS
@lowers(aten.add.Tensor, aten.add.Scalar)
def add(ctx: Lowering, x: TensorView, y: Operand, alpha: Number = 1) -> TensorView:
    dtype = result_dtype(ctx)
    if dtype is DType.BOOL:
        return pointwise(ctx, lambda b, x, y: b.or_(x, y), x, y)
    if dtype not in FLOATS:
        return pointwise(ctx, lambda b, x, y: b.iadd(x, b.imul(y, b.word(int(alpha)))), x, y)
    y = rounded(ctx, y)
    if alpha == 1:
        return pointwise(ctx, lambda b, x, y: b.fadd(x, y), x, y)
    return pointwise(ctx, lambda b, x, y: b.ffma(y, b.float(alpha), x), x, y)


def rounded(ctx: Lowering, operand: Operand) -> Operand:
    """A number to add, rounded to the result's dtype first, as PyTorch does (not so in products)."""
    return operand if isinstance(operand, TensorView) else ctx.full(result_dtype(ctx), operand)


@lowers(aten.sub.Tensor, aten.sub.Scalar)
def sub(ctx: Lowering, x: TensorView, y: Operand, alpha: Number = 1) -> TensorView:
    if result_dtype(ctx) not in FLOATS:
        return pointwise(ctx, lambda b, x, y: b.isub(x, b.imul(y, b.word(int(alpha)))), x, y)
    y = rounded(ctx, y)
    if alpha == 1:
        return pointwise(ctx, lambda b, x, y: b.fsub(x, y), x, y)
    return pointwise(ctx, lambda b, x, y: b.ffma(y, b.float(-alpha), x), x, y)


@lowers(aten.rsub.Tensor, aten.rsub.Scalar)
def rsub(ctx: Lowering, x: TensorView, y: Operand, alpha: Number = 1) -> TensorView:
    if result_dtype(ctx) not in FLOATS:
        return pointwise(ctx, lambda b, x, y: b.isub(y, b.imul(x, b.word(int(alpha)))), x, y)
    if alpha == 1:
        return pointwise(ctx, lambda b, x, y: b.fsub(y, x), x, y)
    return pointwise(ctx, lambda b, x, y: b.ffma(x, b.float(-alpha), y), x, y)


@lowers(aten.mul.Tensor, aten.mul.Scalar)
def mul(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    dtype = result_dtype(ctx)
    if dtype in FLOATS:
        return pointwise(ctx, lambda b, x, y: b.fmul(x, y), x, y)
    if dtype is DType.BOOL:
        return pointwise(ctx, lambda b, x, y: b.and_(x, y), x, y)
    return pointwise(ctx, lambda b, x, y: b.imul(x, y), x, y)


@lowers(aten.neg.default)
def neg(ctx: Lowering, x: TensorView) -> TensorView:
    if x.dtype in FLOATS:
        return pointwise(ctx, lambda b, x: b.fmul(x, b.float(-1.0)), x)
    return pointwise(ctx, lambda b, x: b.isub(b.word(0), x), x)


@lowers(aten.abs.default)
def absolute(ctx: Lowering, x: TensorView) -> TensorView:
    if x.dtype in FLOATS:
        return pointwise(ctx, lambda b, x: b.fabs(x), x)
    return pointwise(ctx, lambda b, x: b.select(b.ilt(x, b.word(0)), b.isub(b.word(0), x), x), x)


@lowers(aten.sign.default, aten.sgn.default)
def sign(ctx: Lowering, x: TensorView) -> TensorView:
    if x.dtype is DType.BOOL:
        return x

    def element(b: Point, x: Register) -> Register:
        if x_is_float:
            return b.i2f(b.isub(b.flt(b.word(0), x), b.flt(x, b.word(0))))
        return b.isub(b.ilt(b.word(0), x), b.ilt(x, b.word(0)))

    x_is_float = x.dtype in FLOATS
    return pointwise(ctx, element, x)


# QUOTIENTS
@lowers(aten.div.Tensor, aten.div.Scalar)
def div(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    return pointwise(ctx, lambda b, x, y: b.fdiv(x, y), x, y)


@lowers(aten.div.Tensor_mode, aten.div.Scalar_mode)
def div_mode(ctx: Lowering, x: TensorView, y: Operand, rounding_mode: str | None = None) -> TensorView:
    floats = result_dtype(ctx) in FLOATS
    if rounding_mode == "floor":
        return pointwise(ctx, float_floor_div if floats else integer_floor_div, x, y)
    if rounding_mode == "trunc":
        return pointwise(ctx, lambda b, x, y: trunc_word(b, b.fdiv(x, y)) if floats else b.idiv(x, y), x, y)
    return div(ctx, x, y)


@lowers(aten.floor_divide.default, aten.floor_divide.Scalar)
def floor_divide(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    return pointwise(ctx, float_floor_div if result_dtype(ctx) in FLOATS else integer_floor_div, x, y)


@lowers(aten.fmod.Tensor, aten.fmod.Scalar)
def fmod(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    floats = result_dtype(ctx) in FLOATS
    return pointwise(ctx, fmod_word if floats else lambda b, x, y: b.irem(x, y), x, y)


@lowers(aten.remainder.Tensor, aten.remainder.Scalar)
def remainder(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    return pointwise(ctx, float_remainder if result_dtype(ctx) in FLOATS else integer_remainder, x, y)


@lowers(aten.remainder.Scalar_Tensor)
def remainder_of_number(ctx: Lowering, x: Number, y: TensorView) -> TensorView:
    return pointwise(ctx, float_remainder if result_dtype(ctx) in FLOATS else integer_remainder, x, y)


@lowers(aten.reciprocal.default)
def reciprocal(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, lambda b, x: b.fdiv(b.float(1.0), x), x)


def integer_remainder(b: Point, x: Register, y: Register) -> Register:
    """The remainder with the divisor's sign."""
    rest = b.irem(x, y)
    other_sign = b.ilt(b.xor(rest, y), b.word(0))
    return b.select(b.and_(other_sign, b.truth(rest)), b.iadd(rest, y), rest)


def integer_floor_div(b: Point, x: Register, y: Register) -> Register:
    quotient, rest = b.idiv(x, y), b.irem(x, y)
    other_sign = b.ilt(b.xor(rest, y), b.word(0))
    return b.isub(quotient, b.and_(other_sign, b.truth(rest)))


def fmod_word(b: Point, x: Register, y: Register) -> Register:
    """x - n * y with n the quotient cut towards zero; exact while the quotient is below 2^64.

    Every stage takes a multiple of y away that leaves a remainder that binary32 holds exactly.
    """
    size, rest = b.fabs(y), b.fabs(x)
    for _ in range(FMOD_STAGES):
        quotient = trunc_word(b, b.fdiv(rest, size))
        rest = b.ffma(b.fmul(quotient, b.float(-1.0)), size, rest)
        rest = b.select(b.flt(rest, b.word(0)), b.fadd(rest, size), rest)
        rest = b.select(b.fle(size, rest), b.fsub(rest, size), rest)
    infinite = b.feq(size, b.float(float("inf")))
    finite_x = b.flt(b.fabs(x), b.float(float("inf")))
    rest = b.select(b.and_(infinite, finite_x), b.fabs(x), rest)
    signed = b.or_(rest, b.and_(x, b.word(SIGN)))
    return b.select(b.feq(rest, rest), signed, rest)


def float_remainder(b: Point, x: Register, y: Register) -> Register:
    """The remainder with the divisor's sign."""
    rest = fmod_word(b, x, y)
    other_sign = b.xor(b.flt(rest, b.word(0)), b.flt(y, b.word(0)))
    adjust = b.and_(other_sign, b.not_(b.feq(rest, b.word(0))))
    return b.select(adjust, b.fadd(rest, y), rest)


def float_floor_div(b: Point, x: Register, y: Register) -> Register:
    """PyTorch's floor division, which agrees with its remainder."""
    rest = fmod_word(b, x, y)
    quotient = b.fdiv(b.fsub(x, rest), y)
    other_sign = b.xor(b.flt(rest, b.word(0)), b.flt(y, b.word(0)))
    adjust = b.and_(other_sign, b.not_(b.feq(rest, b.word(0))))
    quotient = b.select(adjust, b.fsub(quotient, b.float(1.0)), quotient)
    floored = floor_word(b, quotient)
    above = b.flt(b.float(0.5), b.fsub(quotient, floored))
    result = b.select(above, b.fadd(floored, b.float(1.0)), floored)
    zero = b.and_(b.fdiv(x, y), b.word(SIGN))
    result = b.select(b.feq(quotient, b.word(0)), zero, result)
    return b.select(b.feq(y, b.word(0)), b.fdiv(x, y), result)


# ROUNDING
def floor_word(b: Point, x: Register) -> Register:
    nearest = b.frint(x)
    return b.select(b.flt(x, nearest), b.fsub(nearest, b.float(1.0)), nearest)


def ceil_word(b: Point, x: Register) -> Register:
    nearest = b.frint(x)
    up = b.select(b.flt(nearest, x), b.fadd(nearest, b.float(1.0)), nearest)
    return b.or_(up, b.and_(x, b.word(SIGN)))  # -0.5 rounds up to -0


def trunc_word(b: Point, x: Register) -> Register:
    floored = floor_word(b, b.fabs(x))
    return b.or_(floored, b.and_(x, b.word(SIGN)))


def rounding(ctx: Lowering, function, x: TensorView) -> TensorView:
    return pointwise(ctx, function, x) if x.dtype in FLOATS else x


@lowers(aten.floor.default)
def floor(ctx: Lowering, x: TensorView) -> TensorView:
    return rounding(ctx, floor_word, x)


@lowers(aten.ceil.default)
def ceil(ctx: Lowering, x: TensorView) -> TensorView:
    return rounding(ctx, ceil_word, x)


@lowers(aten.trunc.default)
def trunc(ctx: Lowering, x: TensorView) -> TensorView:
    return rounding(ctx, trunc_word, x)


@lowers(aten.round.default)
def nearest(ctx: Lowering, x: TensorView) -> TensorView:
    return rounding(ctx, lambda b, x: b.frint(x), x)


# FUSED FORMS
@lowers(aten.addcmul.default)
def addcmul(ctx: Lowering, x: TensorView, y: TensorView, z: TensorView, value: Number = 1) -> TensorView:
    if result_dtype(ctx) in FLOATS:
        return pointwise(ctx, lambda b, x, y, z: b.fadd(x, b.fmul(b.fmul(b.float(value), y), z)), x, y, z)
    return pointwise(ctx, lambda b, x, y, z: b.iadd(x, b.imul(b.imul(b.word(int(value)), y), z)), x, y, z)


@lowers(aten.addcdiv.default)
def addcdiv(ctx: Lowering, x: TensorView, y: TensorView, z: TensorView, value: Number = 1) -> TensorView:
    return pointwise(ctx, lambda b, x, y, z: b.fadd(x, b.fdiv(b.fmul(b.float(value), y), z)), x, y, z)


@lowers(aten._to_copy.default)
def to_copy(ctx: Lowering, x: TensorView, **_: object) -> TensorView:
    dtype = result_dtype(ctx)
    if dtype is x.dtype:
        return x
    return ctx.map(dtype, lambda b, w: converted(b, w, x.dtype, dtype), x)


@lowers(aten.copy.default)
def copy(ctx: Lowering, target: TensorView, source: TensorView, non_blocking: bool = False) -> TensorView:
    return to_copy(ctx, source).expand(target.shape)
