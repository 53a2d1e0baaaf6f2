"""Strides where nothing is written in place: views of what lies in another order, and writing through strides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.errors import CaptureError

aten = torch.ops.aten


def view(x: Tensor, size: Sequence[int]) -> Any:
    """A view that was possible when it was recorded, of a value that may have other strides by now."""
    return NotImplemented if x.is_contiguous() else x.contiguous().view(list(size))


def as_strided_scatter(
    x: Tensor, source: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """x with ``source`` (of shape ``size``) where these strides lead, counted in elements from the first of x."""
    if not x.is_contiguous():
        raise CaptureError("as_strided of a tensor that is itself strided; call .contiguous() on it first")
    offset = storage_offset or 0
    if offset == 0 and math.prod(size) == x.numel() and is_row_major(size, stride):
        return source.reshape(x.shape)
    place = torch.full([1] * len(size), offset)
    for axis, (extent, step) in enumerate(zip(size, stride, strict=True)):
        place = place + (torch.arange(extent) * step).view([-1 if d == axis else 1 for d in range(len(size))])
    return x.flatten().scatter(0, place.flatten(), source.flatten()).view(x.shape)


def memory_order(tensor: Tensor) -> list[int] | None:
    """The permutation of axes after which a tensor is dense and row-major; None if there is none."""
    order = sorted(range(tensor.dim()), key=lambda d: (tensor.stride(d), tensor.shape[d] > 1), reverse=True)
    return order if tensor.permute(order).is_contiguous() else None


def by_plain_views(flat: Tensor, size: Sequence[int], stride: Sequence[int], offset: int) -> Tensor | None:
    """``flat.as_strided(size, stride, offset)`` by reshapes, slices and permutations; None where these cannot say it.

    They can for all that is itself a view by such operators: there, strides are nested. Shapes: flat (n,) -> size.
    """
    if flat.numel() == 0 or 0 in size:
        return None
    axes = sorted((d for d, extent in enumerate(size) if extent > 1), key=lambda d: stride[d], reverse=True)
    seen = _nested(flat, [(size[d], stride[d]) for d in axes], offset)
    if seen is None:
        return None
    seen = seen.permute([axes.index(d) for d in sorted(axes)])
    for d, extent in enumerate(size):
        seen = seen.unsqueeze(d) if extent == 1 else seen
    return seen


def windows(x: Tensor, dimension: int, size: int, step: int) -> Tensor | None:
    """``x.unfold(dimension, size, step)`` by the same views; None where windows overlap."""
    if x.dim() == 0 or size < 1:
        return None
    at = dimension % x.dim()
    count = (x.shape[at] - size) // step + 1
    moved = x.movedim(at, -1)
    if count == 1:
        seen = moved[..., :size].unsqueeze(-2)
    elif size == 1:
        seen = moved[..., ::step].unsqueeze(-1)
    else:
        seen = _nested(moved, [(count, step), (size, 1)], 0)
    return None if seen is None else seen.movedim(-2, at)


def overlaps(x: Tensor) -> bool:
    """Whether two elements of a tensor may lie in one place: its strides are not nested."""
    reach = 0
    for step, extent in sorted(zip(x.stride(), x.shape, strict=True)):
        if extent > 1 and step <= reach:
            return x.numel() > 0
        reach += (extent - 1) * step
    return False


def _nested(x: Tensor, axes: list[tuple[int, int]], offset: int) -> Tensor | None:
    """The last axis of x as several, each (extent, stride), from the largest stride down."""
    if not axes:
        return x.select(-1, offset)
    if axes[-1][1] <= 0:
        return None
    if len(axes) == 1:
        extent, step = axes[0]
        return x[..., offset : offset + (extent - 1) * step + 1 : step]
    for count in range(1, len(axes)):
        outer, inner = axes[:count], axes[count:]
        block = math.gcd(*(step for _, step in outer))
        span, reach = (sum((extent - 1) * step for extent, step in part) for part in (outer, inner))
        # Cut where the axis can be cut into blocks such that no inner axis leaves its block.
        for cut in sorted({0, offset % block, (offset + reach + 1) % block}):
            first, blocks = offset - cut, (x.shape[-1] - cut) // block
            if first < 0 or first % block + reach >= block or (first + span) // block >= blocks:
                continue
            cut_up = x[..., cut : cut + blocks * block].unflatten(-1, (blocks, block))
            seen = _nested(cut_up, inner, first % block)
            if seen is not None:
                # The outer axes are told from the axis of blocks, which is the last one while they are.
                at = x.dim() - 1
                seen = _nested(seen.movedim(at, -1), [(n, step // block) for n, step in outer], first // block)
            if seen is not None:
                places = range(at, seen.dim())
                return seen.permute([*range(at), *places[len(inner) :], *places[: len(inner)]])
    return None


def is_row_major(size: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether the strides are those of a dense tensor; an axis of one element may have any."""
    expected = 1
    for extent, step in zip(reversed(size), reversed(stride), strict=True):
        if extent != 1 and step != expected:
            return False
        expected *= extent
    return True


STRIDES: dict[OpOverload, Callable] = {
    aten.as_strided_scatter.default: as_strided_scatter,
    aten._reshape_alias.default: lambda x, size, stride: aten.view.default(x, size),
    aten._unsafe_view.default: view,
    aten.view.default: view,
}
