"""Views, and operators that put tensors together or take them apart. Almost all of them cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tallystick.capture.registry import lowers
from tallystick.capture.tensors.affine import Affine
from tallystick.capture.tensors.axes import Axes
from tallystick.capture.tensors.context import Lowering, constant_word, single_axes
from tallystick.capture.tensors.operands import Number, cast, result_dtype
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.ir.builder import Register
from tallystick.spec.tensors import DType

aten = torch.ops.aten

CAT_OPERANDS = 8  # tensors joined by one kernel: each takes a load with a guard
END = 2**62


# RE-INDEXING
@lowers(
    aten.alias.default,
    aten.detach.default,
    aten.clone.default,
    aten.lift.default,
    aten.lift_fresh.default,
    aten.lift_fresh_copy.default,
    aten.contiguous.default,
)
def same(ctx: Lowering, x: TensorView, **_: Any) -> TensorView:
    return x


@lowers(aten.view.default, aten._unsafe_view.default, aten.reshape.default)
def view(ctx: Lowering, x: TensorView, shape: Sequence[int]) -> TensorView:
    return x.reshape(shape)


@lowers(aten.expand.default)
def expand(ctx: Lowering, x: TensorView, shape: Sequence[int], **_: Any) -> TensorView:
    return x.expand(shape)


@lowers(aten.permute.default)
def permute(ctx: Lowering, x: TensorView, dims: Sequence[int]) -> TensorView:
    return x.permute(dims)


@lowers(aten.transpose.int)
def transpose(ctx: Lowering, x: TensorView, a: int, b: int) -> TensorView:
    return x.transpose(a, b) if x.rank else x


@lowers(aten.t.default)
def t(ctx: Lowering, x: TensorView) -> TensorView:
    return x.transpose(0, 1) if x.rank == 2 else x


@lowers(aten.unsqueeze.default)
def unsqueeze(ctx: Lowering, x: TensorView, dim: int) -> TensorView:
    return x.unsqueeze(dim)


@lowers(aten.squeeze.default)
def squeeze(ctx: Lowering, x: TensorView) -> TensorView:
    return x.squeeze()


@lowers(aten.squeeze.dim, aten.squeeze.dims)
def squeeze_dims(ctx: Lowering, x: TensorView, dims: int | Sequence[int]) -> TensorView:
    if x.rank == 0:
        return x
    return x.squeeze([dims] if isinstance(dims, int) else dims)


@lowers(aten.slice.Tensor)
def slice_tensor(
    ctx: Lowering, x: TensorView, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> TensorView:
    return x.slice(dim, 0 if start is None else start, END if end is None else end, step)


@lowers(aten.select.int)
def select(ctx: Lowering, x: TensorView, dim: int, index: int) -> TensorView:
    return x.select(dim, index)


@lowers(aten.flip.default)
def flip(ctx: Lowering, x: TensorView, dims: Sequence[int]) -> TensorView:
    return x.flip(dims)


@lowers(aten.diagonal.default)
def diagonal(ctx: Lowering, x: TensorView, offset: int = 0, dim1: int = 0, dim2: int = 1) -> TensorView:
    return x.diagonal(dim1, dim2, offset)


@lowers(aten.unfold.default)
def unfold(ctx: Lowering, x: TensorView, dim: int, size: int, step: int) -> TensorView:
    return x.windows(dim, size, step) if x.rank else x.reshape([size])


@lowers(aten.as_strided.default)
def as_strided(
    ctx: Lowering, x: TensorView, size: Sequence[int], stride: Sequence[int], offset: int | None = None
) -> TensorView:
    """Any strides over the tensor's elements in row-major order."""
    flat = ctx.graph.flat(x.materialised().node)
    dims = single_axes(size)
    strides = tuple(s for s, extent in zip(stride, size, strict=True) if extent != 1)
    return TensorView(ctx.graph, flat, dims, (Affine(offset or 0, strides),))


# SPLITTING
@lowers(aten.split.Tensor)
def split(ctx: Lowering, x: TensorView, size: int, dim: int = 0) -> tuple[TensorView, ...]:
    return tuple(x.slice(dim, start, start + size) for start in range(0, x.shape[x.dim(dim)], size))


@lowers(aten.split_with_sizes.default)
def split_with_sizes(ctx: Lowering, x: TensorView, sizes: Sequence[int], dim: int = 0) -> tuple[TensorView, ...]:
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(x.slice(dim, start, start + size) for start, size in zip(starts, sizes, strict=True))


@lowers(aten.unbind.int)
def unbind(ctx: Lowering, x: TensorView, dim: int = 0) -> tuple[TensorView, ...]:
    return tuple(x.select(dim, position) for position in range(x.shape[x.dim(dim)]))


# JOINING
@lowers(aten.cat.default)
def cat(ctx: Lowering, tensors: Sequence[TensorView], dim: int = 0) -> TensorView:
    """Tensors one after the other: each is read where it lies, guarded by its range."""
    dtype = result_dtype(ctx)
    parts = [cast(ctx, tensor, dtype) for tensor in tensors if tensor.elements or tensor.rank > 1]
    parts = [part for part in parts if part.shape[part.dim(dim)]] or parts[:1]
    while len(parts) > 1:
        parts = [joined(ctx, parts[i : i + CAT_OPERANDS], dim) for i in range(0, len(parts), CAT_OPERANDS)]
    return parts[0]


def joined(ctx: Lowering, parts: Sequence[TensorView], dim: int) -> TensorView:
    if len(parts) == 1:
        return parts[0]
    dim = parts[0].dim(dim)
    inner = common_inner_axes([part.dims[dim] for part in parts])
    if inner:  # the parts follow one another in whole blocks of these axes
        blocks = [part.parted(dim, len(part.dims[dim]) - inner) for part in parts]
        return joined(ctx, blocks, dim).grouped(dim)
    ends = [sum(part.shape[dim] for part in parts[: i + 1]) for i in range(len(parts))]
    placed = [part.pad(dim, end - part.shape[dim], ends[-1] - end) for part, end in zip(parts, ends, strict=True)]

    def element(b: Point, place: Register, *words: Register) -> Register:
        result = words[-1]
        for word, end in zip(reversed(words[:-1]), reversed(ends[:-1]), strict=True):
            result = b.select(b.ilt(place, b.word(end)), word, result)
        return result

    place = index_of(ctx, ends[-1], dim, parts[0].rank)
    return ctx.map(parts[0].dtype, element, place, *placed)


def common_inner_axes(dims: Sequence[Axes]) -> int:
    """How many inner loop axes all parts share, if what is left of each is at most one axis; 0 if they share none."""
    shared = 0
    while all(len(axes) > shared and axes[len(axes) - 1 - shared] == dims[0][-1 - shared] for axes in dims):
        shared += 1
    return shared if all(len(axes) - shared <= 1 for axes in dims) else 0


def index_of(ctx: Lowering, extent: int, dim: int, rank: int) -> TensorView:
    """The index in one dimension, broadcasting along the others."""
    indices = ctx.compute(DType.I32, (extent,), lambda b: b.index(0))
    return indices.reshape([extent if d == dim else 1 for d in range(rank)])


@lowers(aten.stack.default)
def stack(ctx: Lowering, tensors: Sequence[TensorView], dim: int = 0) -> TensorView:
    return cat(ctx, [tensor.unsqueeze(dim) for tensor in tensors], dim)


@lowers(aten.constant_pad_nd.default)
def constant_pad(ctx: Lowering, x: TensorView, pads: Sequence[int], value: Number = 0) -> TensorView:
    """Pads come in pairs, from the last dimension backwards."""
    fill = constant_word(x.dtype, value)
    kept = [x.shape[x.rank - 1 - i] + min(pads[2 * i], 0) + min(pads[2 * i + 1], 0) for i in range(len(pads) // 2)]
    if min(kept, default=1) <= 0:  # all is cut off before anything is added
        return ctx.word(x.dtype, fill, ctx.result.shape)
    for i in range(len(pads) // 2):
        x = x.pad(x.rank - 1 - i, pads[2 * i], pads[2 * i + 1], fill)
    return x


@lowers(aten.repeat.default)
def repeat(ctx: Lowering, x: TensorView, times: Sequence[int]) -> TensorView:
    """Whole copies side by side: a new dimension of stride 0 before each."""
    missing = len(times) - x.rank
    for _ in range(missing):
        x = x.unsqueeze(0)
    shape = [extent * n for extent, n in zip(x.shape, times, strict=True)]
    for d in reversed(range(len(times))):
        x = x.unsqueeze(d)
    order = [d for pair in zip(range(len(times)), range(len(times), 2 * len(times)), strict=True) for d in pair]
    spread = x.permute(order).expand([n for d in range(len(times)) for n in (times[d], x.shape[len(times) + d])])
    return spread.reshape(shape)


@lowers(aten.slice_scatter.default)
def slice_scatter(
    ctx: Lowering,
    x: TensorView,
    source: TensorView,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> TensorView:
    """x with a slice replaced."""
    dim = x.dim(dim)
    chosen = range(*slice(start, end, step).indices(x.shape[dim]))
    if not chosen:
        return x
    first = chosen[0]
    if step == 1:
        placed = source.pad(dim, first, x.shape[dim] - first - len(chosen))
    else:
        spread = source.unsqueeze(dim + 1).pad(dim + 1, 0, step - 1)
        shape = [*source.shape[:dim], len(chosen) * step, *source.shape[dim + 1 :]]
        spread = spread.reshape(shape)
        placed = spread.pad(dim, first, x.shape[dim] - first - len(chosen) * step)
    indices = index_of(ctx, x.shape[dim], dim, x.rank)

    def element(b: Point, place: Register, old: Register, new: Register) -> Register:
        offset = b.isub(place, b.word(first))
        inside = b.ult(offset, b.word(len(chosen) * step))
        if step != 1:
            inside = b.and_(inside, b.ieq(b.irem(offset, b.word(step)), b.word(0)))
        return b.select(inside, new, old)

    return ctx.map(x.dtype, element, indices, x, placed)


@lowers(aten.select_scatter.default)
def select_scatter(ctx: Lowering, x: TensorView, source: TensorView, dim: int, index: int) -> TensorView:
    dim = x.dim(dim)
    index %= x.shape[dim]
    return slice_scatter(ctx, x, source.unsqueeze(dim), dim, index, index + 1)
