"""Scatters that combine what meets at a place: sums, products, means, extremes, with or without what was there."""

from __future__ import annotations

import torch

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.lowerings.arithmetic import integer_floor_div
from tallystick.capture.lowerings.embedding_and_index import Merge, addition, scattered
from tallystick.capture.lowerings.reduction import (
    GREATEST,
    LEAST,
    float_max,
    float_min,
    integer_max,
    integer_min,
)
from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.ir.builder import Register, float_word
from tallystick.spec.tensors import DType

aten = torch.ops.aten

LIMITS = {DType.I32: (LEAST, GREATEST), DType.I8: (-128, 127), DType.U8: (0, 255), DType.BOOL: (0, 1)}
"""The least and the greatest number of an integer type."""


@lowers(aten.scatter_reduce.two)
def scatter_reduce(
    ctx: Lowering,
    x: TensorView,
    dim: int,
    index: TensorView,
    source: TensorView,
    reduce: str,
    *,
    include_self: bool = True,
) -> TensorView:
    """``reduce``: sum, prod, mean, amax or amin; without ``include_self`` only places nobody writes keep their word."""
    if x.rank == 0:
        x, index, source = x.unsqueeze(0), index.reshape([-1]), source.reshape([-1])
        return scatter_reduce(ctx, x, 0, index, source, reduce, include_self=include_self).reshape([])
    ones = ctx.word(DType.I32, 1, index.shape)
    merge, neutral = combination(x.dtype, "sum" if reduce == "mean" else reduce)
    counts = None
    if reduce == "mean" or not include_self:
        nothing = ctx.word(DType.I32, int(include_self), x.shape)
        counts = scattered(ctx, nothing, dim, index, ones, addition(DType.I32))
    base = x
    if not include_self:
        assert counts is not None, "places are counted"
        base = ctx.map(x.dtype, lambda b, x, n: b.select(n, b.word(neutral), x), x, counts)
    total = scattered(ctx, base, dim, index, source, merge)
    if reduce != "mean":
        return total
    assert counts is not None, "a mean is counted"

    def quotient(b: Point, total: Register, count: Register) -> Register:
        count = b.select(count, count, b.word(1))
        return b.fdiv(total, b.i2f(count)) if x.dtype in FLOATS else integer_floor_div(b, total, count)

    return ctx.map(x.dtype, quotient, total, counts)


@lowers(aten.index_reduce.default)
def index_reduce(
    ctx: Lowering,
    x: TensorView,
    dim: int,
    index: TensorView,
    source: TensorView,
    reduce: str,
    *,
    include_self: bool = True,
) -> TensorView:
    """Slices combined with slices of a dimension. Shapes: x (..., n, ...), index (m,), source (..., m, ...)."""
    if x.rank == 0:
        index, source = index.reshape([-1]), source.reshape([-1])
    else:
        dim = x.dim(dim)
        index = index.reshape([-1 if d == dim else 1 for d in range(x.rank)]).expand(source.shape)
    return scatter_reduce(ctx, x, dim, index, source, reduce, include_self=include_self)


def combination(dtype: DType, reduce: str) -> tuple[Merge, int]:
    """How words are combined, and the word that changes nothing."""
    floats = dtype in FLOATS
    match reduce:
        case "sum":
            return addition(dtype), 0
        case "prod" if floats:
            return (lambda b, left, right: b.fmul(left, right)), float_word(1.0)
        case "prod":
            return (lambda b, left, right: b.imul(left, right)), 1
        case "amax":
            return (float_max, float_word(float("-inf"))) if floats else (integer_max, LIMITS[dtype][0])
    assert reduce == "amin", f"PyTorch checks reductions; {reduce} is none"
    return (float_min, float_word(float("inf"))) if floats else (integer_min, LIMITS[dtype][1])
