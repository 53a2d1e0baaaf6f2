"""Operators that pick elements by their order: medians, k-th values, modes, and places in sorted sequences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten

TOP = 16  # elements that topk takes one by one


def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The largest or smallest elements and where they are, in order; the first of equals, NaN above all."""
    if x.dim() == 0:
        return x.clone(), torch.zeros((), dtype=torch.int64)
    if not largest or k > TOP or not x.is_floating_point():
        values, places = aten.sort.default(x, dim, largest)
        return aten.slice.Tensor(values, dim, 0, k), aten.slice.Tensor(places, dim, 0, k)
    dim = dim % x.dim()
    place = torch.arange(x.shape[dim]).view([-1 if d == dim else 1 for d in range(x.dim())])
    taken = torch.zeros(x.shape, dtype=torch.bool)
    places: list[Tensor] = []
    for _ in range(k):
        rest, at = aten.max.dim(torch.where(taken, -math.inf, x), dim, True)
        # Where only -inf is left, what was taken must not be taken again.
        _, free = aten.max.dim(torch.where(taken, 0.0, 1.0), dim, True)
        at = torch.where(rest == -math.inf, free, at)
        taken = taken | (place == at)
        places.append(at)
    indices = torch.cat(places, dim)
    return x.gather(dim, indices), indices


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The k-th smallest, counted from 1."""
    if x.dim() == 0:
        return x.clone(), torch.zeros((), dtype=torch.int64)
    values, places = aten.sort.default(x, dim)
    first, second = (aten.slice.Tensor(part, dim, k - 1, k) for part in (values, places))
    return (first, second) if keepdim else (first.squeeze(dim), second.squeeze(dim))


def median_dim(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The lower of the two in the middle; NaN, and the first of them, where there is one."""
    value, place = kthvalue(x, (rows(x, dim) + 1) // 2, dim, keepdim)
    if not x.is_floating_point() or x.dim() == 0:
        return value, place
    missing, first = aten.max.dim((x != x).to(torch.int32), dim, keepdim)
    is_missing = missing != 0
    return torch.where(is_missing, math.nan, value), torch.where(is_missing, first, place)


def nanmedian_dim(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The median of what is not NaN, which stands before all NaN once the row is sorted."""
    if not x.is_floating_point() or x.dim() == 0:
        return median_dim(x, dim, keepdim)
    numbers = aten.sum.dim_IntList((x == x).to(torch.int64), [dim], True)
    middle = ((numbers - 1).clamp(min=0)).div(2, rounding_mode="floor")
    values, places = aten.sort.default(x, dim)
    first, second = values.gather(dim, middle), places.gather(dim, middle)
    return (first, second) if keepdim else (first.squeeze(dim), second.squeeze(dim))


def median(x: Tensor) -> Tensor:
    return median_dim(x.reshape(-1), 0)[0]


def nanmedian(x: Tensor) -> Tensor:
    return nanmedian_dim(x.reshape(-1), 0)[0]


def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The most frequent element, the smallest of those, and the last place where it stands in the row."""
    if x.dim() == 0:
        return x.clone(), torch.zeros((), dtype=torch.int64)
    moved = x.transpose(dim, -1)
    same = moved.unsqueeze(-1) == moved.unsqueeze(-2)
    count = same.sum(-1)
    most = aten.amax.default(count, [-1], True)
    value = aten.amin.default(torch.where(count == most, moved, greatest(x.dtype)), [-1], True)
    place = torch.where(moved == value, torch.arange(moved.shape[-1]), 0)  # 0 for a row of nothing but NaN
    last = aten.amax.default(place, [-1], True)
    value, last = value.transpose(dim, -1), last.transpose(dim, -1)
    return (value, last) if keepdim else (value.squeeze(dim), last.squeeze(dim))


def greatest(dtype: torch.dtype) -> float:
    """A number that no other of the dtype exceeds; int64 has 32 bits here."""
    if dtype.is_floating_point or dtype is torch.bool:
        return math.inf if dtype.is_floating_point else True
    return min(torch.iinfo(dtype).max, 2**31 - 1)


def rows(x: Tensor, dim: int) -> int:
    return x.shape[dim] if x.dim() else 1


# PLACES IN SORTED SEQUENCES
def searchsorted(
    sequence: Tensor,
    x: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """How many elements of a sorted sequence come before each number: all are compared.

    Shapes: sequence (n,) with x of any shape, or sequence (..., n) with x (..., m).
    """
    if sorter is not None:
        sequence = sequence.gather(-1, sorter)
    after = right or side == "right"
    bounds = sequence if sequence.dim() == 1 else sequence.unsqueeze(-2)
    wide = x.unsqueeze(-1)
    before = ~(bounds > wide) if after else ~(bounds >= wide)
    if x.is_floating_point():
        # NaN stands behind every number, and finds no place before another.
        before = before & ((bounds == bounds) | (wide != wide)) if after else before & (bounds == bounds)
    return before.sum(-1).to(torch.int32 if out_int32 else torch.int64)


def searchsorted_number(sequence: Tensor, x: float, **options: Any) -> Tensor:
    return searchsorted(sequence, torch.full((), x, dtype=sequence.dtype), **options)


def bucketize(x: Tensor, bounds: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    return searchsorted(bounds, x, out_int32=out_int32, right=right)


def bucketize_number(x: float, bounds: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    return searchsorted_number(bounds, x, out_int32=out_int32, right=right)


ORDER_STATISTICS: dict[OpOverload, Callable] = {
    aten.bucketize.Scalar: bucketize_number,
    aten.bucketize.Tensor: bucketize,
    aten.kthvalue.default: kthvalue,
    aten.median.default: median,
    aten.median.dim: median_dim,
    aten.mode.default: mode,
    aten.nanmedian.default: nanmedian,
    aten.nanmedian.dim: nanmedian_dim,
    aten.searchsorted.Scalar: searchsorted_number,
    aten.searchsorted.Tensor: searchsorted,
    aten.topk.default: topk,
}
