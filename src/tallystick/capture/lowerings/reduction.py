"""Reductions over dimensions, and running sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.operands import cast, result_dtype
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.ir.builder import CodeBuilder, Register, float_word
from tallystick.spec.tensors import DType

aten = torch.ops.aten

Dims = Sequence[int] | int | None
Combine = Callable[[CodeBuilder, Register, Register], Register]
LEAST, GREATEST = 0x80000000, 0x7FFFFFFF
NO_INDEX = GREATEST  # of an accumulator that has seen nothing: larger than every index


def dims_of(x: TensorView, dims: Dims) -> list[int]:
    """The dimensions meant: all of them for None and for an empty list."""
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return list(range(x.rank))
    return sorted({x.dim(d) for d in ([dims] if isinstance(dims, int) else dims)}) if x.rank else []


def kept(view: TensorView, dims: Sequence[int], keepdim: bool) -> TensorView:
    """The result with the reduced dimensions back, of size 1, if they are kept."""
    if keepdim:
        for d in dims:
            view = view.unsqueeze(d)
    return view


def accumulator_dtype(dtype: DType) -> DType:
    return DType.F32 if dtype in FLOATS else DType.I32


def reduced(ctx: Lowering, x: TensorView, dims: Dims, keepdim: bool, start: int, combine: Combine) -> TensorView:
    """One accumulator that starts at a neutral word and takes every element, in the dtype of x."""
    chosen = dims_of(x, dims)
    if not chosen:
        return x
    dtype = accumulator_dtype(x.dtype)
    if any(x.shape[d] == 0 for d in chosen):
        shape = [extent for d, extent in enumerate(x.shape) if d not in chosen]
        return kept(ctx.word(dtype, start, shape), chosen, keepdim)
    (result,) = ctx.fold(
        [x],
        chosen,
        [start],
        lambda b, acc, x: (combine(b, acc[0], x),),
        lambda b, left, right: (combine(b, left[0], right[0]),),
        [dtype],
    )
    return kept(result, chosen, keepdim)


# SUMS
@lowers(aten.sum.dim_IntList)
def sum_dims(ctx: Lowering, x: TensorView, dims: Dims = None, keepdim: bool = False, **_: Any) -> TensorView:
    dtype = result_dtype(ctx)
    if dtype in FLOATS:
        total = reduced(ctx, cast(ctx, x, DType.F32), dims, keepdim, 0, lambda b, a, x: b.fadd(a, x))
    else:
        total = reduced(ctx, cast(ctx, x, DType.I32), dims, keepdim, 0, lambda b, a, x: b.iadd(a, x))
    return cast(ctx, total, dtype)


@lowers(aten.sum.default)
def sum_all(ctx: Lowering, x: TensorView, **_: Any) -> TensorView:
    return sum_dims(ctx, x)


@lowers(aten.mean.dim)
def mean_dims(ctx: Lowering, x: TensorView, dims: Dims = None, keepdim: bool = False, **_: Any) -> TensorView:
    count = prod(x.shape[d] for d in dims_of(x, dims))
    total = reduced(ctx, cast(ctx, x, DType.F32), dims, keepdim, 0, lambda b, a, x: b.fadd(a, x))
    return ctx.map(result_dtype(ctx), lambda b, total: b.fdiv(total, b.float(float(count))), total)


@lowers(aten.mean.default)
def mean_all(ctx: Lowering, x: TensorView, **_: Any) -> TensorView:
    return mean_dims(ctx, x)


@lowers(aten.prod.default)
def prod_all(ctx: Lowering, x: TensorView, **_: Any) -> TensorView:
    return product(ctx, x, None, False)


@lowers(aten.prod.dim_int)
def prod_dim(ctx: Lowering, x: TensorView, dim: int, keepdim: bool = False, **_: Any) -> TensorView:
    return product(ctx, x, dim, keepdim)


def product(ctx: Lowering, x: TensorView, dims: Dims, keepdim: bool) -> TensorView:
    dtype = result_dtype(ctx)
    if dtype in FLOATS:
        one = float_word(1.0)
        total = reduced(ctx, cast(ctx, x, DType.F32), dims, keepdim, one, lambda b, a, x: b.fmul(a, x))
    else:
        total = reduced(ctx, cast(ctx, x, DType.I32), dims, keepdim, 1, lambda b, a, x: b.imul(a, x))
    return cast(ctx, total, dtype)


# EXTREMES
def float_max(b: CodeBuilder, most: Register, x: Register) -> Register:
    """The larger of two; a NaN on either side stays."""
    return b.select(b.flt(most, x), x, b.select(b.feq(x, x), most, x))


def float_min(b: CodeBuilder, least: Register, x: Register) -> Register:
    return b.select(b.flt(x, least), x, b.select(b.feq(x, x), least, x))


def integer_max(b: CodeBuilder, most: Register, x: Register) -> Register:
    return b.select(b.ilt(most, x), x, most)


def integer_min(b: CodeBuilder, least: Register, x: Register) -> Register:
    return b.select(b.ilt(x, least), x, least)


@lowers(aten.amax.default)
def amax(ctx: Lowering, x: TensorView, dims: Dims = None, keepdim: bool = False) -> TensorView:
    floats = x.dtype in FLOATS
    start = float_word(float("-inf")) if floats else LEAST
    return cast(ctx, reduced(ctx, x, dims, keepdim, start, float_max if floats else integer_max), x.dtype)


@lowers(aten.amin.default)
def amin(ctx: Lowering, x: TensorView, dims: Dims = None, keepdim: bool = False) -> TensorView:
    floats = x.dtype in FLOATS
    start = float_word(float("inf")) if floats else GREATEST
    return cast(ctx, reduced(ctx, x, dims, keepdim, start, float_min if floats else integer_min), x.dtype)


@lowers(aten.max.default)
def max_all(ctx: Lowering, x: TensorView) -> TensorView:
    return amax(ctx, x)


@lowers(aten.min.default)
def min_all(ctx: Lowering, x: TensorView) -> TensorView:
    return amin(ctx, x)


@lowers(aten.max.dim)
def max_dim(ctx: Lowering, x: TensorView, dim: int, keepdim: bool = False) -> tuple[TensorView, TensorView]:
    return extreme(ctx, x, dim, keepdim, largest=True)


@lowers(aten.min.dim)
def min_dim(ctx: Lowering, x: TensorView, dim: int, keepdim: bool = False) -> tuple[TensorView, TensorView]:
    return extreme(ctx, x, dim, keepdim, largest=False)


@lowers(aten.argmax.default)
def argmax(ctx: Lowering, x: TensorView, dim: int | None = None, keepdim: bool = False) -> TensorView:
    return arg_extreme(ctx, x, dim, keepdim, largest=True)


@lowers(aten.argmin.default)
def argmin(ctx: Lowering, x: TensorView, dim: int | None = None, keepdim: bool = False) -> TensorView:
    return arg_extreme(ctx, x, dim, keepdim, largest=False)


def arg_extreme(ctx: Lowering, x: TensorView, dim: int | None, keepdim: bool, largest: bool) -> TensorView:
    """Without a dimension the index counts all elements in row-major order."""
    if dim is not None:
        return extreme(ctx, x, dim, keepdim, largest)[1]
    _, place = extreme(ctx, x.reshape([-1]), 0, False, largest)
    return kept(place, range(x.rank), keepdim)


def extreme(ctx: Lowering, x: TensorView, dim: int, keepdim: bool, largest: bool) -> tuple[TensorView, TensorView]:
    """The extreme along a dimension and the index of its first occurrence; the first NaN counts as the extreme."""
    if x.rank == 0:
        return x, ctx.word(DType.I32, 0)
    dim = x.dim(dim)
    floats = x.dtype in FLOATS

    def before(b: CodeBuilder, x: Register, y: Register) -> Register:
        """Whether x is more extreme than y."""
        x, y = (y, x) if largest else (x, y)
        return b.flt(x, y) if floats else b.ilt(x, y)

    def better(b: CodeBuilder, x: Register, i: Register, value: Register, place: Register) -> Register:
        """Whether element i with the word x replaces what an accumulator holds."""
        more = before(b, x, value)
        if not floats:
            return b.or_(more, b.and_(b.ieq(x, value), b.ilt(i, place)))
        x_nan, value_nan = b.ieq(b.feq(x, x), b.word(0)), b.ieq(b.feq(value, value), b.word(0))
        same = b.or_(b.feq(x, value), b.and_(x_nan, value_nan))
        first_nan = b.and_(x_nan, b.feq(value, value))
        return b.or_(b.or_(more, first_nan), b.and_(same, b.ilt(i, place)))

    def pick(b: CodeBuilder, accumulators: Sequence[Register], x: Register, i: Register) -> tuple[Register, ...]:
        value, place = accumulators
        take = better(b, x, i, value, place)
        return b.select(take, x, value), b.select(take, i, place)

    def body(b: Point, accumulators: Sequence[Register], x: Register) -> tuple[Register, ...]:
        return pick(b, accumulators, x, b.index(dim))

    extremes = (float_word(float("-inf")), float_word(float("inf"))) if floats else (LEAST, GREATEST)
    start = extremes[0] if largest else extremes[1]
    dtype = accumulator_dtype(x.dtype)
    values, places = ctx.fold(
        [x], [dim], [start, NO_INDEX], body, lambda b, left, right: pick(b, left, *right), [dtype, DType.I32]
    )
    return kept(cast(ctx, values, x.dtype), [dim], keepdim), kept(places, [dim], keepdim)


# TRUTH
@lowers(aten.any.default)
def any_all(ctx: Lowering, x: TensorView) -> TensorView:
    return truth(ctx, x, None, False, 0, lambda b, a, x: b.or_(a, x))


@lowers(aten.any.dim, aten.any.dims)
def any_dim(ctx: Lowering, x: TensorView, dims: Dims = None, keepdim: bool = False) -> TensorView:
    return truth(ctx, x, dims, keepdim, 0, lambda b, a, x: b.or_(a, x))


@lowers(aten.all.default)
def all_all(ctx: Lowering, x: TensorView) -> TensorView:
    return truth(ctx, x, None, False, 1, lambda b, a, x: b.and_(a, x))


@lowers(aten.all.dim, aten.all.dims)
def all_dim(ctx: Lowering, x: TensorView, dims: Dims = None, keepdim: bool = False) -> TensorView:
    return truth(ctx, x, dims, keepdim, 1, lambda b, a, x: b.and_(a, x))


def truth(ctx: Lowering, x: TensorView, dims: Dims, keepdim: bool, start: int, combine: Combine) -> TensorView:
    return cast(ctx, reduced(ctx, cast(ctx, x, DType.BOOL), dims, keepdim, start, combine), result_dtype(ctx))


# RUNNING SUMS
@lowers(aten.cumsum.default)
def cumsum(ctx: Lowering, x: TensorView, dim: int, **_: Any) -> TensorView:
    if result_dtype(ctx) in FLOATS:
        return running(ctx, x, dim, 0, lambda b, a, x: b.fadd(a, x))
    return running(ctx, x, dim, 0, lambda b, a, x: b.iadd(a, x))


@lowers(aten.cumprod.default)
def cumprod(ctx: Lowering, x: TensorView, dim: int, **_: Any) -> TensorView:
    if result_dtype(ctx) in FLOATS:
        return running(ctx, x, dim, float_word(1.0), lambda b, a, x: b.fmul(a, x))
    return running(ctx, x, dim, 1, lambda b, a, x: b.imul(a, x))


def running(ctx: Lowering, x: TensorView, dim: int, start: int, combine: Combine) -> TensorView:
    dtype = result_dtype(ctx)
    x = cast(ctx, x, accumulator_dtype(dtype))
    if x.rank == 0 or x.shape[x.dim(dim)] <= 1 or x.elements == 0:
        return cast(ctx, x, dtype)
    (result,) = ctx.scan([x], dim, [start], lambda b, acc, x: (combine(b, acc[0], x),), [accumulator_dtype(dtype)])
    return cast(ctx, result, dtype)
