"""What depends on the order of elements in memory: ``view``, and ``as_strided`` where nothing is written in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from tallystick.capture.tracing.provenance import SOURCE
from tallystick.errors import CaptureError

aten = torch.ops.aten


def as_strided_scatter(
    x: Tensor, source: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """x with ``source`` (of shape ``size``) where these strides lead, counted in elements from the first of x."""
    x = x.contiguous()
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


def view(x: Tensor, size: Sequence[int]) -> Tensor:
    """A view that was possible when it was recorded, of a tensor that what was written out left in another order.

    It stays a view for functionalisation, which stands above: what is written into it reaches the tensor viewed.
    """
    return NotImplemented if x.is_contiguous() else x.contiguous().view(size)


def as_strided(x: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """The same for strides over a tensor that was dense when they were recorded (see ``require_dense``)."""
    return NotImplemented if x.is_contiguous() else x.contiguous().as_strided(size, stride, storage_offset)


def require_dense(node: fx.Node) -> None:
    """Refuse recorded strides over a tensor whose memory was in another order than its elements."""
    operand = node.args[0]
    assert isinstance(operand, fx.Node), "as_strided has a tensor operand"
    if not operand.meta["val"].is_contiguous():
        raise CaptureError(
            f"{node.meta.get(SOURCE)}\n  as_strided of a tensor that is itself strided; call .contiguous() on it first"
        )


STRIDES: dict[OpOverload, Callable] = {
    aten.as_strided.default: as_strided,
    aten.as_strided_scatter.default: as_strided_scatter,
    aten.view.default: view,
}
