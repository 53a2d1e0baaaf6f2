"""Reading and writing at computed places: embeddings, gathers, scatters.

An index outside its tensor is an error in PyTorch that depends on data. Here an address outside the tensor reads 0 and
is not written; an index that is too large for its own dimension, but leads to an address inside, is that element.
Writes to one place are combined in the order of the source, row-major.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from tallystick.capture.registry import lowers
from tallystick.capture.tensors.broadcast import broadcast_shape
from tallystick.capture.tensors.context import NOWHERE, Lowering
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.errors import CaptureError
from tallystick.ir.builder import CodeBuilder, Register, float_word
from tallystick.spec.tensors import DType

aten = torch.ops.aten
Merge = Callable[[CodeBuilder, Register, Register], Register]

FLOATS = frozenset({DType.F32, DType.BF16, DType.F16})


# READING
@lowers(aten.embedding.default)
def embedding(
    ctx: Lowering,
    weight: TensorView,
    indices: TensorView,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> TensorView:
    """Rows of a table. Shapes: weight (V, D), indices (...) -> (..., D)."""
    rows = indices.unsqueeze(indices.rank).expand([*indices.shape, weight.shape[1]])
    return ctx.map(weight.dtype, lambda b, row: b.read(weight, [row, b.index(indices.rank)]), rows)


@lowers(aten.index_select.default)
def index_select(ctx: Lowering, x: TensorView, dim: int, index: TensorView) -> TensorView:
    """Slices of a dimension, by number. Shapes: x (..., n, ...), index (m,) -> (..., m, ...)."""
    if x.rank == 0:
        return x
    dim = x.dim(dim)
    shape = [*x.shape[:dim], index.elements, *x.shape[dim + 1 :]]
    chosen = index.reshape([-1 if d == dim else 1 for d in range(x.rank)]).expand(shape)
    return ctx.map(x.dtype, lambda b, at: b.read(x, own_indices(b, x.rank, dim, at)), chosen)


@lowers(aten.gather.default)
def gather(ctx: Lowering, x: TensorView, dim: int, index: TensorView, sparse_grad: bool = False) -> TensorView:
    """Elements along a dimension, each by its own number. Shapes: index and result the same, no larger than x."""
    if x.rank == 0:
        return x.expand(index.shape)
    dim = x.dim(dim)
    return ctx.map(x.dtype, lambda b, at: b.read(x, own_indices(b, x.rank, dim, at)), index)


@lowers(aten.index.Tensor)
def index(ctx: Lowering, x: TensorView, indices: Sequence[TensorView | None]) -> TensorView:
    """Advanced indexing. Shapes: as numpy's; negative numbers count from the end."""
    where, chosen = index_places(ctx, x, indices)
    shape = tuple(ctx.result.shape)
    spread = [view.reshape([*view.shape, *[1] * (len(shape) - where.stop)]).expand(shape) for view in chosen]

    def read(b: Point, *numbers: Register) -> Register:
        return b.read(x, indexed_place(b, x, indices, where, numbers))

    return ctx.map(x.dtype, read, *spread)


# WRITING
@lowers(aten.scatter.src)
def scatter_src(ctx: Lowering, x: TensorView, dim: int, index: TensorView, source: TensorView) -> TensorView:
    return scattered(ctx, x, dim, index, source, None)


@lowers(aten.scatter.value)
def scatter_value(ctx: Lowering, x: TensorView, dim: int, index: TensorView, value: float) -> TensorView:
    return scattered(ctx, x, dim, index, ctx.full(x.dtype, value, index.shape), None)


@lowers(aten.scatter_add.default)
def scatter_add(ctx: Lowering, x: TensorView, dim: int, index: TensorView, source: TensorView) -> TensorView:
    return scattered(ctx, x, dim, index, source, addition(x.dtype))


@lowers(aten.index_add.default)
def index_add(
    ctx: Lowering, x: TensorView, dim: int, index: TensorView, source: TensorView, *, alpha: float = 1
) -> TensorView:
    """Slices added to slices of a dimension. Shapes: x (..., n, ...), index (m,), source (..., m, ...)."""
    if x.rank == 0:
        dtype = x.dtype
        return ctx.map(dtype, lambda b, x, s: addition(dtype)(b, x, scaled(b, s, dtype, alpha)), x, source.reshape([]))
    dim = x.dim(dim)
    wide = index.reshape([-1 if d == dim else 1 for d in range(x.rank)]).expand(source.shape)
    if alpha != 1:
        source = ctx.map(x.dtype, lambda b, word: scaled(b, word, x.dtype, alpha), source)
    return scattered(ctx, x, dim, wide, source, addition(x.dtype))


@lowers(aten.index_put.default)
def index_put(
    ctx: Lowering,
    x: TensorView,
    indices: Sequence[TensorView | None],
    values: TensorView,
    accumulate: bool = False,
) -> TensorView:
    """Writing where ``index`` reads; values are broadcast to its result's shape."""
    where, chosen = index_places(ctx, x, indices)
    rest = [extent for d, extent in enumerate(x.shape) if d >= len(indices) or indices[d] is None]
    shape = [*rest[: where.start], *chosen[0].shape[where.start :], *rest[where.start :]]
    spread = [view.reshape([*view.shape, *[1] * (len(shape) - where.stop)]) for view in chosen]

    def write(b: Point, word: Register, *numbers: Register) -> tuple[list[Register], Register]:
        return indexed_place(b, x, indices, where, numbers), word

    merge = addition(x.dtype) if accumulate else None
    return ctx.scatter(x.shape, x.dtype, x, [values.expand(shape), *spread], write, merge)


@lowers(aten.embedding_dense_backward.default)
def embedding_dense_backward(
    ctx: Lowering,
    grad: TensorView,
    indices: TensorView,
    num_weights: int,
    padding_idx: int,
    scale_grad_by_freq: bool,
) -> TensorView:
    """Rows of a gradient added to the rows they came from. Shapes: grad (..., D), indices (...) -> (V, D)."""
    assert not scale_grad_by_freq, "written out before"
    width = grad.shape[-1]
    source, rows = grad.reshape([-1, width]), indices.reshape([-1, 1])

    def write(b: Point, word: Register, row: Register) -> tuple[list[Register], Register]:
        if padding_idx >= 0:
            row = b.select(b.ieq(row, b.word(padding_idx)), b.word(NOWHERE), row)
        return [row, b.index(1)], word

    return ctx.scatter([num_weights, width], DType.F32, 0, [source, rows], write, addition(DType.F32))


# HELPERS
def scattered(
    ctx: Lowering, x: TensorView, dim: int, index: TensorView, source: TensorView, merge: Merge | None
) -> TensorView:
    """x with the leading part of ``source`` written at ``index`` along a dimension, as ``gather`` would read it."""
    if x.rank == 0:
        x, index, source = x.unsqueeze(0), index.reshape([-1]), source.reshape([-1])
        return scattered(ctx, x, 0, index, source, merge).reshape([])
    dim = x.dim(dim)
    for d, extent in enumerate(index.shape):
        source = source.slice(d, 0, extent)

    def write(b: Point, word: Register, number: Register) -> tuple[list[Register], Register]:
        return own_indices(b, x.rank, dim, number), word

    return ctx.scatter(x.shape, x.dtype, x, [source, index], write, merge)


def own_indices(b: Point, rank: int, dim: int, at: Register) -> list[Register]:
    """The point's own index in every dimension but one."""
    return [at if d == dim else b.index(d) for d in range(rank)]


def index_places(ctx: Lowering, x: TensorView, indices: Sequence[TensorView | None]) -> tuple[slice, list[TensorView]]:
    """Which dimensions of the result the index tensors make, and those tensors, broadcast with 1s before them.

    They stand where the first of them does if they are adjacent, else in front.
    """
    places = [d for d, view in enumerate(indices) if view is not None]
    chosen = [view for view in indices if view is not None]
    if any(view.dtype is not DType.I32 for view in chosen):
        raise CaptureError(
            f"{ctx.line}: indexing by a mask makes a shape that depends on data; use torch.where instead"
        )
    shape = broadcast_shape([view.shape for view in chosen])
    adjacent = places == list(range(places[0], places[0] + len(places)))
    start = places[0] if adjacent else 0
    return slice(start, start + len(shape)), [view.expand(shape).reshape([*[1] * start, *shape]) for view in chosen]


def indexed_place(
    b: Point, x: TensorView, indices: Sequence[TensorView | None], where: slice, numbers: Sequence[Register]
) -> list[Register]:
    """The indices of x at a point of the result of advanced indexing."""
    others = iter([*range(where.start), *range(where.stop, where.stop + x.rank)])
    drawn = iter(numbers)
    place: list[Register] = []
    for d in range(x.rank):
        if d >= len(indices) or indices[d] is None:
            place.append(b.index(next(others)))
            continue
        number = next(drawn)
        below = b.ilt(number, b.word(0))
        place.append(b.select(below, b.iadd(number, b.word(x.shape[d])), number))
    return place


def addition(dtype: DType) -> Merge:
    """How elements of a dtype add."""
    if dtype is DType.BOOL:
        return lambda b, left, right: b.or_(left, right)
    if dtype in FLOATS:
        return lambda b, left, right: b.fadd(left, right)
    return lambda b, left, right: b.iadd(left, right)


def scaled(b: CodeBuilder, word: Register, dtype: DType, factor: float) -> Register:
    if dtype in FLOATS:
        return b.fmul(word, b.word(float_word(factor)))
    return b.imul(word, b.word(int(factor)))
