"""Matrix products."""

from __future__ import annotations

import torch

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering, add_accumulators
from tallystick.capture.tensors.operands import Number, cast, result_dtype
from tallystick.capture.tensors.views import TensorView
from tallystick.spec.tensors import DType

aten = torch.ops.aten


def product(ctx: Lowering, a: TensorView, b: TensorView) -> TensorView:
    """a (..., M, K) times b (..., K, N), in float32 or int32."""
    left = a.unsqueeze(a.rank - 1)  # (..., M, 1, K)
    right = b.transpose(-1, -2).unsqueeze(b.rank - 2)  # (..., 1, N, K)
    if a.shape[-1] == 0:
        shape = (*a.shape[:-1], b.shape[-1])
        return ctx.full(DType.F32 if a.dtype in FLOATS else DType.I32, 0, shape)
    if a.dtype in FLOATS:
        return ctx.contract(left, right)
    (total,) = ctx.fold(
        [left, right],
        [left.rank - 1],
        [0],
        lambda b, acc, x, y: (b.iadd(acc[0], b.imul(x, y)),),
        lambda b, left, right: (b.iadd(left[0], right[0]),),
        [DType.I32],
    )
    return total


@lowers(aten.mm.default, aten.bmm.default)
def mm(ctx: Lowering, a: TensorView, b: TensorView) -> TensorView:
    return cast(ctx, product(ctx, a, b), result_dtype(ctx))


@lowers(aten.mv.default)
def mv(ctx: Lowering, a: TensorView, b: TensorView) -> TensorView:
    return cast(ctx, product(ctx, a, b.unsqueeze(1)), result_dtype(ctx)).squeeze([1])


@lowers(aten.dot.default)
def dot(ctx: Lowering, a: TensorView, b: TensorView) -> TensorView:
    """A long sum, so several lanes rather than one chain."""
    dtype = result_dtype(ctx)
    if dtype not in FLOATS:
        return cast(ctx, product(ctx, a.unsqueeze(0), b.unsqueeze(1)), dtype).reshape([])
    (total,) = ctx.fold([a, b], [0], [0], lambda b, acc, x, y: (b.ffma(x, y, acc[0]),), add_accumulators, [DType.F32])
    return cast(ctx, total, dtype)


@lowers(aten.addmm.default, aten.baddbmm.default)
def addmm(
    ctx: Lowering, bias: TensorView, a: TensorView, b: TensorView, beta: Number = 1, alpha: Number = 1
) -> TensorView:
    """beta * bias + alpha * (a @ b); a bias with beta 0 is not read."""
    total = product(ctx, a, b)
    if result_dtype(ctx) in FLOATS:
        if alpha != 1:
            total = ctx.map(DType.F32, lambda b, x: b.fmul(x, b.float(float(alpha))), total)
        if beta == 0:
            return cast(ctx, total, result_dtype(ctx))
        if beta != 1:
            bias = ctx.map(DType.F32, lambda b, x: b.fmul(x, b.float(float(beta))), bias)
        return ctx.map(result_dtype(ctx), lambda b, x, y: b.fadd(x, y), total, bias)
    scaled = ctx.map(DType.I32, lambda b, x: b.imul(x, b.word(int(alpha))), total)
    return ctx.map(result_dtype(ctx), lambda b, x, y: b.iadd(x, b.imul(y, b.word(int(beta)))), scaled, bias)
