"""Bringing tensors to one shape, made of the same loop axes."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.capture.tensors.axes import Axes
from tallystick.capture.tensors.views import TensorView


def broadcast_shape(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The shape that all of these broadcast to."""
    rank = max((len(shape) for shape in shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for d, extent in enumerate(shape, rank - len(shape)):
            if extent != 1:
                assert result[d] in (1, extent), f"shapes {list(shapes)} do not broadcast"
                result[d] = extent
    return tuple(result)


def aligned(views: Sequence[TensorView], shape: Sequence[int]) -> list[TensorView]:
    """The views broadcast to a shape, each dimension made of the same loop axes in all of them.

    The loop axes are the coarsest that every view can follow; a view whose axes interleave with those of the views
    before it is stored first.
    """
    views = [view.expand(shape) for view in views]
    for d in range(len(shape)):
        common: Axes = ()
        for view, original in zip(views, list(views), strict=True):
            if is_broadcast(original, d):
                continue
            refined = refine(common, view.dims[d])
            if refined is not None:
                common = refined
        wanted = common or ((shape[d],) if shape[d] != 1 else ())
        views = [view.split(d, wanted) for view in views]
    return views


def is_broadcast(view: TensorView, dim: int) -> bool:
    """Whether a dimension is one loop axis: it can be split in any way."""
    return len(view.dims[dim]) <= 1


def refine(a: Axes, b: Axes) -> Axes | None:
    """The coarsest axes that both of these can be split into; None if they interleave. () stands for any axes."""
    if not a or not b:
        return a or b
    left, right = list(a), list(b)
    result: list[int] = []
    while left and right:
        x, y = left.pop(), right.pop()
        part = min(x, y)
        if max(x, y) % part:
            return None
        result.append(part)
        if x > part:
            left.append(x // part)
        if y > part:
            right.append(y // part)
    return tuple(reversed(result))
