"""Writing through strides: what is left of ``as_strided`` when nothing is written in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.errors import CaptureError

aten = torch.ops.aten


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


def is_row_major(size: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether the strides are those of a dense tensor; an axis of one element may have any."""
    expected = 1
    for extent, step in zip(reversed(size), reversed(stride), strict=True):
        if extent != 1 and step != expected:
            return False
        expected *= extent
    return True


STRIDES: dict[OpOverload, Callable] = {aten.as_strided_scatter.default: as_strided_scatter}
