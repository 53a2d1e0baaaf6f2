"""Assignments to boolean masks, ``x[mask] = values``, as choices: every element stays, and the mask picks.

PyTorch's own gradient of such an assignment selects by the mask, which makes a shape that depends on data. A mask that
selects where something is read (``x[mask]``) keeps its refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tallystick.capture.tracing.provenance import here
from tallystick.errors import CaptureError


def assign(x: Tensor, key: Any, values: Any) -> None:
    """``x[key] = values``."""
    found = mask_in(x, key)
    if found is None or not takes_part(x, values):
        Tensor.__setitem__(x, key, values)
    else:
        x.copy_(chosen(x, *found, values))


def put(original: Callable[..., Tensor], in_place: bool) -> Callable[..., Tensor]:
    """``index_put`` and ``index_put_``."""

    def run(x: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
        found = mask_in(x, tuple(indices))
        if found is None or not takes_part(x, values):
            return original(x, indices, values, accumulate)
        made = x + chosen(torch.zeros_like(x), *found, values) if accumulate else chosen(x, *found, values)
        return x.copy_(made) if in_place else made

    return run


def takes_part(x: Tensor, values: Any) -> bool:
    """Whether what is assigned is more than a number without a gradient, which needs no help. PyTorch converts none."""
    return isinstance(values, Tensor) and values.dtype == x.dtype and (values.numel() > 1 or values.requires_grad)


def mask_in(x: Tensor, key: Any) -> tuple[Tensor, int] | None:
    """The mask of an index and the axis of x it starts at; None if it is anything but one mask beside whole axes."""
    items = list(key) if isinstance(key, tuple) else [key]
    masks = [item for item in items if isinstance(item, Tensor) and item.dtype == torch.bool and item.dim()]
    if len(masks) != 1 or not all(item is masks[0] or item is ... or _is_whole(item) for item in items):
        return None
    mask, at = masks[0], next(i for i, item in enumerate(items) if item is masks[0])
    if any(item is ... for item in items[:at]):
        at = x.dim() - mask.dim() - (len(items) - 1 - at)
    return (mask, at) if at >= 0 and mask.shape == x.shape[at : at + mask.dim()] else None


def _is_whole(item: Any) -> bool:
    return isinstance(item, slice) and item == slice(None)


def chosen(x: Tensor, mask: Tensor, at: int, values: Tensor) -> Tensor:
    """x with values where the mask is true: the same for every place, or one after the other in order.

    Shapes: x (lead..., mask..., rest...), values broadcast to (lead..., places, rest...). If there are more or fewer
    values than places, where PyTorch raises, all is NaN.
    """
    rest = x.dim() - at - mask.dim()
    shape = [1] * (at + 1 + rest - values.dim()) + list(values.shape)
    values = values.reshape(shape[len(shape) - (at + 1 + rest) :])
    places = values.shape[at]
    lead, behind = list(values.shape[:at]), list(values.shape[at + 1 :])
    if places == 1:
        spread = values.reshape([*lead, *[1] * mask.dim(), *behind])
    else:
        if not x.dtype.is_floating_point:
            raise CaptureError(
                f"{places} integers are assigned to the places of a mask{here()}, whose number depends on data: write "
                "torch.where(mask, new, old) with a new value for every place"
            )
        number = mask.reshape(-1).to(torch.int64).cumsum(0) - 1
        spread = values.index_select(at, number.clamp(0, places - 1)).reshape([*lead, *mask.shape, *behind])
        x = torch.where(mask.sum() == places, x, torch.nan)
        spread = torch.where(mask.sum() == places, spread, torch.nan)
    return torch.where(mask.reshape([1] * at + list(mask.shape) + [1] * rest), spread, x)


CALLS: dict[Any, Callable[..., Any]] = {
    Tensor.__setitem__: assign,
    Tensor.index_put: put(Tensor.index_put, False),
    Tensor.index_put_: put(Tensor.index_put_, True),
    torch.index_put: put(torch.index_put, False),
    torch.index_put_: put(torch.index_put_, True),
}
