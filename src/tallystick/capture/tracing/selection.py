"""Elements selected by a mask of data: how many there are is not known, so they stay where they are.

Speech models flatten the targets of their loss in this way and give their lengths, with which they can be found again.
Any other use is refused, as selecting is.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.utils._pytree import tree_leaves

from tallystick.capture.tracing.dependence import explain
from tallystick.capture.tracing.provenance import describe_frame, reached_from, user_frame
from tallystick.capture.watching.watch import attempted
from tallystick.errors import CaptureError

masked_select_operator = torch.ops.aten.masked_select.default


class Selection(Tensor):
    """What ``labels.masked_select(mask)`` returns while tracing, if the mask is data. Shapes: both (N, S)."""

    labels: Tensor
    mask: Tensor
    place: str

    @staticmethod
    def __new__(cls, labels: Tensor, mask: Tensor, place: str) -> Selection:
        # pyright: ignore below: how a tensor without elements of its own is made has no public name.
        made = Tensor._make_wrapper_subclass(cls, (0,), dtype=labels.dtype)  # pyright: ignore[reportAttributeAccessIssue]
        made.__dict__.update(labels=labels, mask=mask, place=place)
        return made

    def rows(self, lengths: Tensor) -> Tensor:
        """The selected labels cut again by lengths that sum to their number, none above S. Shapes: (N,) -> (N, S)."""
        fields = self.__dict__
        labels, mask = fields["labels"].reshape(-1), fields["mask"].reshape(-1)
        shape, count = fields["mask"].shape, labels.shape[0]
        # What is not selected goes behind the end, which no length reaches.
        target = torch.where(mask, mask.long().cumsum(0) - 1, count)
        front = torch.zeros(count + 1, dtype=torch.int64).scatter(0, target, labels.long())
        start = (lengths.cumsum(0) - lengths).unsqueeze(1)
        return front[(start + torch.arange(shape[1])).clamp(max=count).reshape(-1)].reshape(shape)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        held = next(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Selection))
        raise CaptureError(f"{held.__dict__['place']}\n  {explain(masked_select_operator)}")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError("every function of it is refused before")


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements, if their number is known; integers in rows are kept together with a mask that is data."""
    recorded = recorded_nodes()
    try:
        with attempted():
            return torch.masked_select(input, mask)
    except (CaptureError, RuntimeError):
        if input.dim() != 2 or input.shape != mask.shape or input.is_floating_point():
            raise
        for node in reversed(recorded_nodes()[len(recorded) :]):
            node.graph.erase_node(node)  # the attempt itself
        frame = sys._getframe(1)
        return Selection(input, mask, f"{describe_frame(user_frame(frame))}{reached_from(frame)}")


def recorded_nodes() -> list[fx.Node]:
    mode = get_proxy_mode()
    return [] if mode is None else list(mode.tracer.graph.nodes)
