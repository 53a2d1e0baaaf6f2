"""Tensors made of nothing but numbers and indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.operands import Number, result_dtype
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.ir.builder import Register
from tallystick.spec.tensors import DType

aten = torch.ops.aten


def constant(ctx: Lowering, value: Number) -> TensorView:
    return ctx.full(result_dtype(ctx), value, tuple(ctx.result.shape))


@lowers(aten.full.default)
def full(ctx: Lowering, shape: Sequence[int], value: Number, **_: Any) -> TensorView:
    return constant(ctx, value)


@lowers(aten.full_like.default)
def full_like(ctx: Lowering, x: TensorView, value: Number, **_: Any) -> TensorView:
    return constant(ctx, value)


@lowers(aten.scalar_tensor.default)
def scalar_tensor(ctx: Lowering, value: Number, **_: Any) -> TensorView:
    return constant(ctx, value)


@lowers(aten.fill.Scalar)
def fill(ctx: Lowering, x: TensorView, value: Number) -> TensorView:
    return constant(ctx, value)


# What PyTorch leaves uninitialised is zero here: a program has no undefined value.
@lowers(
    aten.zeros.default,
    aten.zeros_like.default,
    aten.new_zeros.default,
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.new_empty.default,
)
def zeros(ctx: Lowering, *_: Any, **__: Any) -> TensorView:
    return constant(ctx, 0)


@lowers(aten.ones.default, aten.ones_like.default, aten.new_ones.default)
def ones(ctx: Lowering, *_: Any, **__: Any) -> TensorView:
    return constant(ctx, 1)


@lowers(aten.new_full.default)
def new_full(ctx: Lowering, x: TensorView, shape: Sequence[int], value: Number, **_: Any) -> TensorView:
    return constant(ctx, value)


@lowers(aten.arange.start_step)
def arange(ctx: Lowering, start: Number, end: Number, step: Number = 1, **_: Any) -> TensorView:
    dtype = result_dtype(ctx)

    def element(b: Point) -> Register:
        if dtype in FLOATS:
            return b.ffma(b.i2f(b.index(0)), b.float(float(step)), b.float(float(start)))
        return b.iadd(b.imul(b.index(0), b.word(int(step))), b.word(int(start)))

    return ctx.compute(dtype, tuple(ctx.result.shape), element)


@lowers(aten.arange.start)
def arange_from(ctx: Lowering, start: Number, end: Number, **_: Any) -> TensorView:
    return arange(ctx, start, end)


@lowers(aten.arange.default)
def arange_to(ctx: Lowering, end: Number, **_: Any) -> TensorView:
    return arange(ctx, 0, end)


@lowers(aten.tril.default)
def tril(ctx: Lowering, x: TensorView, diagonal: int = 0) -> TensorView:
    """Elements at or below a diagonal; zero above it."""
    rows = index_along(ctx, x, -2)
    columns = index_along(ctx, x, -1)
    return ctx.map(
        x.dtype,
        lambda b, x, row, column: b.select(b.ilt(b.iadd(row, b.word(diagonal)), column), b.word(0), x),
        x,
        rows,
        columns,
    )


@lowers(aten.triu.default)
def triu(ctx: Lowering, x: TensorView, diagonal: int = 0) -> TensorView:
    """Elements at or above a diagonal; zero below it."""
    rows = index_along(ctx, x, -2)
    columns = index_along(ctx, x, -1)
    return ctx.map(
        x.dtype,
        lambda b, x, row, column: b.select(b.ilt(column, b.iadd(row, b.word(diagonal))), b.word(0), x),
        x,
        rows,
        columns,
    )


def index_along(ctx: Lowering, x: TensorView, dim: int) -> TensorView:
    """Every element's index in a dimension, as integers that broadcast against x."""
    dim = x.dim(dim)
    indices = ctx.compute(DType.I32, (x.shape[dim],), lambda b: b.index(0))
    return indices.reshape([x.shape[dim] if d == dim else 1 for d in range(x.rank)])
