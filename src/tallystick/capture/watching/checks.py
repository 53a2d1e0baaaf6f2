"""What a program notes while it runs because it could not be known before: indices outside of their tables, failed
checks.

An index outside of its table is an error in PyTorch. Here most indices are proved to lie inside when the step is
captured, from what they are made of and from the data. For the others the program keeps a number in its state that
says in which step one lay outside first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.capture.watching.ledger import Ref

aten = torch.ops.aten

PREFIX = "check."  # of the state slots: 0, or 1 + the first step in which something was wrong


class Indexed(NamedTuple):
    """An index of an operator: it must lie in [low, high), or be ``ignored``."""

    index: Tensor
    low: int
    high: int
    ignored: int | None
    what: str


@dataclass(eq=False)
class Check:
    """Something to note. ``bad`` is a truth value of shape (), traced. ``inputs``: bits of inputs that were trusted.

    ``ref`` and ``within`` say which index it is about, for those that depend on data alone.
    """

    bad: Tensor
    line: str
    what: str
    inputs: int
    ref: Ref | None = None
    within: tuple[int, int, int | None] | None = None

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.line}: {self.what}"


# WHICH ARGUMENTS ARE INDICES
Finder = Callable[[tuple, Mapping[str, Any]], list[Indexed]]


def _along(what: str) -> Finder:
    """Operators whose arguments begin with (x, dim, index): every index counts elements of that dimension of x."""

    def found(args: tuple, kwargs: Mapping[str, Any]) -> list[Indexed]:
        x, dim, index = args[:3]
        size = x.shape[dim] if x.dim() else 1
        return [Indexed(index, 0, size, None, f"an index of {what}")]

    return found


def _embedding(args: tuple, kwargs: Mapping[str, Any]) -> list[Indexed]:
    return [Indexed(args[1], 0, args[0].shape[0], None, "a number looked up in an embedding")]


def _index(args: tuple, kwargs: Mapping[str, Any]) -> list[Indexed]:
    x, indices = args[:2]
    chosen = [(d, index) for d, index in enumerate(indices) if index is not None]
    return [
        Indexed(index, -x.shape[d], x.shape[d], None, "an index")
        for d, index in chosen
        if index.dtype not in (torch.bool, torch.uint8)
    ]


def _nll(args: tuple, kwargs: Mapping[str, Any]) -> list[Indexed]:
    x, target, _, _, ignored = args[:5]
    return [Indexed(target, 0, x.shape[1 if x.dim() > 1 else 0], ignored, "a label")]


def _within(args: tuple, kwargs: Mapping[str, Any]) -> list[Indexed]:
    index, low, high, what = args
    return [Indexed(index, low, high, None, what)]


def _take(args: tuple, kwargs: Mapping[str, Any]) -> list[Indexed]:
    size = args[0].numel()
    return [Indexed(args[1], -size, size, None, "an index of take")]


_BY_NAME: dict[str, Finder] = {
    "embedding": _embedding,
    "_embedding_bag": _embedding,
    "_embedding_bag_forward_only": _embedding,
    "index": _index,
    "_unsafe_index": _index,
    "index_put": _index,
    "index_put_": _index,
    "_index_put_impl_": _index,
    "_unsafe_index_put": _index,
    "nll_loss_forward": _nll,
    "nll_loss2d_forward": _nll,
    "take": _take,
    "put_": _take,
    "within": _within,
    **{
        name: _along(name.rstrip("_"))
        for plain in (
            *("gather", "index_select", "scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy"),
            *("index_fill", "index_reduce"),
        )
        for name in (plain, f"{plain}_")
    },
}


def finder(func: OpOverload) -> Finder | None:
    """What finds an operator's indices among its arguments; None for one that has none."""
    return _BY_NAME.get(func._schema.name.partition("::")[2])


def outside(found: Indexed) -> Tensor:
    """Whether an index lies outside anywhere, shape (); traced."""
    index = found.index
    wrong = (index < found.low) | (index >= found.high)
    if found.ignored is not None:
        wrong = wrong & (index != found.ignored)
    return wrong.any()


def range_text(low: int, high: int) -> str:
    return f"{low} to {high - 1}"
