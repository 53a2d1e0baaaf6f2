"""Operators that look at signs and exponents of floats, and lengths."""

from __future__ import annotations

import torch

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.operands import Operand, pointwise, result_dtype
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.errors import CaptureError
from tallystick.ir.builder import Register
from tallystick.spec.tensors import DType

aten = torch.ops.aten

SIGN, MAGNITUDE = 0x80000000, 0x7FFFFFFF
INFINITY = float("inf")


@lowers(aten.copysign.Tensor, aten.copysign.Scalar)
def copysign(ctx: Lowering, x: TensorView, y: Operand) -> TensorView:
    def element(b: Point, x: Register, y: Register) -> Register:
        # The only NaN has no sign.
        signed = b.or_(b.fabs(x), b.and_(y, b.word(SIGN)))
        return b.select(b.feq(x, x), signed, x)

    return pointwise(ctx, element, x, y)


@lowers(aten.signbit.default)
def signbit(ctx: Lowering, x: TensorView) -> TensorView:
    if x.dtype is DType.BOOL:
        return ctx.full(DType.BOOL, 0, x.shape)
    return pointwise(ctx, lambda b, x: b.lshr(x, b.word(31)), x, compute=x.dtype)


@lowers(aten.fmax.default)
def fmax(ctx: Lowering, x: TensorView, y: TensorView) -> TensorView:
    """The larger of two; the other one of a NaN."""
    if result_dtype(ctx) not in FLOATS:
        return pointwise(ctx, lambda b, x, y: b.select(b.ilt(x, y), y, x), x, y)
    return pointwise(ctx, lambda b, x, y: b.select(b.or_(b.flt(x, y), b.is_nan(x)), y, x), x, y)


@lowers(aten.fmin.default)
def fmin(ctx: Lowering, x: TensorView, y: TensorView) -> TensorView:
    if result_dtype(ctx) not in FLOATS:
        return pointwise(ctx, lambda b, x, y: b.select(b.ilt(y, x), y, x), x, y)
    return pointwise(ctx, lambda b, x, y: b.select(b.or_(b.flt(y, x), b.is_nan(x)), y, x), x, y)


@lowers(aten.nextafter.default)
def nextafter(ctx: Lowering, x: TensorView, y: TensorView) -> TensorView:
    """The float beside x in the direction of y; y itself where they are equal."""
    dtype = result_dtype(ctx)
    if dtype is DType.F16:
        raise CaptureError(f"{ctx.line}: nextafter of float16 cannot be captured; use float32")
    unit = 1 << 16 if dtype is DType.BF16 else 1

    def element(b: Point, x: Register, y: Register) -> Register:
        away = b.xor(b.flt(x, y), b.lshr(x, b.word(31)))  # 1 where the magnitude grows
        moved = b.iadd(x, b.select(away, b.word(unit), b.word(-unit)))
        smallest = b.or_(b.word(unit), b.and_(y, b.word(SIGN)))
        moved = b.select(b.feq(x, b.float(0.0)), smallest, moved)
        moved = b.select(b.feq(x, y), y, moved)
        return b.select(b.and_(b.feq(x, x), b.feq(y, y)), moved, b.fadd(x, y))

    return pointwise(ctx, element, x, y)


@lowers(aten.hypot.default)
def hypot(ctx: Lowering, x: TensorView, y: TensorView) -> TensorView:
    """The length of (x, y), within 1 ulp: a power of two keeps its square from overflow and underflow."""

    def element(b: Point, x: Register, y: Register) -> Register:
        x, y = b.fabs(x), b.fabs(y)
        one = b.float(1.0)
        larger = b.select(b.flt(x, y), y, x)
        down = b.flt(b.float(2.0**60), larger)
        up = b.flt(larger, b.float(2.0**-40))
        scale = b.select(down, b.float(2.0**-80), b.select(up, b.float(2.0**80), one))
        back = b.select(down, b.float(2.0**80), b.select(up, b.float(2.0**-80), one))
        x_scaled, y_scaled = b.fmul(x, scale), b.fmul(y, scale)
        square = b.ffma(x_scaled, x_scaled, b.fmul(y_scaled, y_scaled))
        length = b.fmul(b.fsqrt(square), back)
        infinity = b.float(INFINITY)
        return b.select(b.or_(b.feq(x, infinity), b.feq(y, infinity)), infinity, length)

    return pointwise(ctx, element, x, y)


@lowers(aten.frexp.Tensor)
def frexp(ctx: Lowering, x: TensorView) -> tuple[TensorView, TensorView]:
    """x = mantissa * 2^exponent with 1/2 <= |mantissa| < 1; exponent 0 for what has none."""

    def normalised(b: Point, x: Register) -> tuple[Register, Register, Register]:
        small = b.flt(b.fabs(x), b.float(2.0**-126))
        word = b.select(small, b.fmul(x, b.float(2.0**24)), x)
        special = b.or_(b.feq(x, b.float(0.0)), b.not_(b.flt(b.fabs(x), b.float(INFINITY))))
        return word, b.select(small, b.word(126 + 24), b.word(126)), special

    def mantissa(b: Point, x: Register) -> Register:
        word, _, special = normalised(b, x)
        return b.select(special, x, b.or_(b.and_(word, b.word(0x807FFFFF)), b.word(0x3F000000)))

    def exponent(b: Point, x: Register) -> Register:
        word, bias, special = normalised(b, x)
        biased = b.lshr(b.and_(word, b.word(MAGNITUDE)), b.word(23))
        return b.select(special, b.word(0), b.isub(biased, bias))

    return ctx.map(DType.F32, mantissa, x), ctx.map(DType.I32, exponent, x)
