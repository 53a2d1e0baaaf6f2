"""Distances between rows, and their gradients.

Shapes: x (..., P, M), y (..., R, M) -> (..., P, R); for the pairs of one matrix x (n, M) -> (n (n - 1) / 2,).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten


def cdist(x: Tensor, y: Tensor, p: float, compute_mode: int | None = None) -> Tensor:
    return length(x.unsqueeze(-2) - y.unsqueeze(-3), p)


def cdist_backward(grad: Tensor, x: Tensor, y: Tensor, p: float, distance: Tensor) -> Tensor:
    """The gradient by x: that of every pair, summed over y's rows."""
    difference = x.unsqueeze(-2) - y.unsqueeze(-3)
    return (grad.unsqueeze(-1) * slope(difference, distance.unsqueeze(-1), p)).sum(-2)


def pdist(x: Tensor, p: float = 2.0) -> Tensor:
    first, second = pairs(x.shape[0])
    return length(x.index_select(0, first) - x.index_select(0, second), p)


def pdist_backward(grad: Tensor, x: Tensor, p: float, distance: Tensor) -> Tensor:
    first, second = pairs(x.shape[0])
    difference = x.index_select(0, first) - x.index_select(0, second)
    share = grad.unsqueeze(-1) * slope(difference, distance.unsqueeze(-1), p)
    return torch.zeros(x.shape).index_add(0, first, share).index_add(0, second, -share)


def pairs(count: int) -> tuple[Tensor, Tensor]:
    """The numbers of the first and second row of every pair, in order."""
    both = [(i, j) for i in range(count) for j in range(i + 1, count)]
    return torch.tensor([i for i, _ in both]), torch.tensor([j for _, j in both])


def length(difference: Tensor, p: float) -> Tensor:
    """The p-norm over the last dimension."""
    size = difference.abs()
    if p == 0:
        return (difference != 0).to(torch.float32).sum(-1)
    if p == 1:
        return size.sum(-1)
    if p == 2:
        return (difference * difference).sum(-1).sqrt()
    if p == math.inf:
        return aten.amax.default(size, [-1])
    return (size**p).sum(-1) ** (1 / p)


def slope(difference: Tensor, distance: Tensor, p: float) -> Tensor:
    """d length / d difference; 0 where PyTorch says so: at distance 0."""
    if p == 0:
        return torch.zeros(difference.shape)
    if p == 1:
        return difference.sign()
    if p == 2:
        return torch.where(distance == 0, 0.0, difference / distance)
    if p == math.inf:
        return difference.sign() * (difference.abs() == distance).to(torch.float32)
    part = difference.sign() * difference.abs() ** (p - 1) / distance ** (p - 1)
    nowhere = (distance == 0) | (difference == 0) if p < 1 else distance == 0
    return torch.where(nowhere, 0.0, part)


DISTANCES: dict[OpOverload, Callable] = {
    aten._cdist_backward.default: cdist_backward,
    aten._cdist_forward.default: cdist,
    aten._pdist_backward.default: pdist_backward,
    aten._pdist_forward.default: pdist,
}
