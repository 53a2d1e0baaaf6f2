"""Square roots, exponentials, logarithms, trigonometry and powers, element by element."""

from __future__ import annotations

import torch

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.operands import Number, Operand, pointwise, result_dtype
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.errors import CaptureError
from tallystick.ir import elementary
from tallystick.ir.builder import Register

aten = torch.ops.aten


@lowers(aten.sqrt.default)
def sqrt(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, lambda b, x: b.fsqrt(x), x)


@lowers(aten.rsqrt.default)
def rsqrt(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.rsqrt, x)


@lowers(aten.exp.default)
def exp(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.exp, x)


@lowers(aten.exp2.default)
def exp2(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.exp2, x)


@lowers(aten.expm1.default)
def expm1(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.expm1, x)


@lowers(aten.log.default)
def log(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.log, x)


@lowers(aten.log2.default)
def log2(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.log2, x)


@lowers(aten.log10.default)
def log10(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.log10, x)


@lowers(aten.log1p.default)
def log1p(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.log1p, x)


@lowers(aten.sin.default)
def sin(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.sin, x)


@lowers(aten.cos.default)
def cos(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.cos, x)


@lowers(aten.tan.default)
def tan(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.tan, x)


@lowers(aten.asin.default)
def asin(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.asin, x)


@lowers(aten.acos.default)
def acos(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.acos, x)


@lowers(aten.atan.default)
def atan(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.atan, x)


@lowers(aten.atan2.default)
def atan2(ctx: Lowering, y: TensorView, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.atan2, y, x)


@lowers(aten.tanh.default)
def tanh(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.tanh, x)


@lowers(aten.sigmoid.default)
def sigmoid(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.sigmoid, x)


@lowers(aten.erf.default)
def erf(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.erf, x)


@lowers(aten.sinh.default)
def sinh(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.sinh, x)


@lowers(aten.cosh.default)
def cosh(ctx: Lowering, x: TensorView) -> TensorView:
    return pointwise(ctx, elementary.cosh, x)


# POWERS
@lowers(aten.pow.Tensor_Scalar)
def pow_number(ctx: Lowering, x: TensorView, exponent: Number) -> TensorView:
    if result_dtype(ctx) not in FLOATS:
        if exponent < 0:
            raise CaptureError("integers to a negative power are not integers; convert the tensor with .float() first")
        return pointwise(ctx, lambda b, x: integer_power(b, x, int(exponent)), x)
    return pointwise(ctx, lambda b, x: float_power(b, x, float(exponent)), x)


@lowers(aten.pow.Tensor_Tensor, aten.pow.Scalar)
def pow_tensor(ctx: Lowering, x: Operand, exponent: TensorView) -> TensorView:
    if result_dtype(ctx) in FLOATS:
        return pointwise(ctx, elementary.pow, x, exponent)
    return pointwise(ctx, integer_power_of_word, x, exponent)


def float_power(b: Point, x: Register, exponent: float) -> Register:
    """The powers that PyTorch computes by multiplication or roots, and the general one."""
    if exponent == 1.0:
        return x
    if exponent == 0.0:
        return b.float(1.0)
    if exponent == 0.5:
        return b.fsqrt(x)
    if exponent == -0.5:
        return b.fdiv(b.float(1.0), b.fsqrt(x))
    if exponent == 2.0:
        return b.fmul(x, x)
    if exponent == 3.0:
        return b.fmul(b.fmul(x, x), x)
    if exponent == -1.0:
        return b.fdiv(b.float(1.0), x)
    if exponent == -2.0:
        return b.fdiv(b.float(1.0), b.fmul(x, x))
    return elementary.pow(b, x, b.float(exponent))


def integer_power(b: Point, x: Register, exponent: int) -> Register:
    """x to a constant power, by squaring; wraps."""
    result = b.word(1)
    while exponent:
        if exponent & 1:
            result = b.imul(result, x)
        exponent >>= 1
        if exponent:
            x = b.imul(x, x)
    return result


def integer_power_of_word(b: Point, x: Register, exponent: Register) -> Register:
    """x to a power, by squaring; wraps. Negative powers are 0, except of 1 and -1."""
    result = b.word(1)
    square = x
    for bit in range(31):
        odd = b.and_(b.lshr(exponent, b.word(bit)), b.word(1))
        result = b.imul(result, b.select(odd, square, b.word(1)))
        if bit < 30:
            square = b.imul(square, square)
    odd = b.and_(exponent, b.word(1))
    unit = b.select(b.ieq(x, b.word(-1)), b.select(odd, b.word(-1), b.word(1)), b.ieq(x, b.word(1)))
    return b.select(b.ilt(exponent, b.word(0)), unit, result)
