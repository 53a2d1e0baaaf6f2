"""Operators that take, put, copy or make elements by place, written with those that are lowered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten
Sizes = Sequence[int]


# BY NUMBER AND BY MASK
def take(x: Tensor, index: Tensor) -> Tensor:
    return aten.index.Tensor(x.reshape(-1), [index])


def put(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    values = source.reshape(-1)
    return aten.index_put.default(x.reshape(-1), [index.reshape(-1)], values, accumulate).reshape(x.shape)


def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """x with the elements of ``source``, in order, where the mask is true."""
    shape = torch.broadcast_shapes(x.shape, mask.shape)
    x, mask = x.expand(shape), mask.expand(shape)
    number = mask.reshape(-1).to(torch.int64).cumsum(0) - 1
    drawn = source.reshape(-1).index_select(0, number.clamp(min=0)).reshape(shape)
    return torch.where(mask, drawn, x)


def masked_scatter_backward(grad: Tensor, mask: Tensor, sizes: Sizes) -> Tensor:
    """The gradient by ``source``: what the mask lets through, in order, and zeros behind."""
    mask = mask.expand(grad.shape).reshape(-1)
    count = math.prod(sizes)
    number = mask.to(torch.int64).cumsum(0) - 1
    # What the mask holds back goes to a place behind the end, which is cut off.
    target = torch.where(mask, number, count)
    return torch.zeros(count + 1).scatter(0, target, grad.reshape(-1))[:count].reshape(list(sizes))


def triangle_indices(
    rows: int, columns: int, offset: int = 0, *, below: bool, dtype: torch.dtype | None = None, **_: Any
) -> Tensor:
    kept = [(i, j) for i in range(rows) for j in range(columns) if (j - i <= offset if below else j - i >= offset)]
    return torch.tensor([[i for i, _ in kept], [j for _, j in kept]], dtype=dtype or torch.int64)


def tril_indices(rows: int, columns: int, offset: int = 0, **options: Any) -> Tensor:
    return triangle_indices(rows, columns, offset, below=True, **options)


def triu_indices(rows: int, columns: int, offset: int = 0, **options: Any) -> Tensor:
    return triangle_indices(rows, columns, offset, below=False, **options)


# COPIES OF VIEWS
def narrow_copy(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    start = start % x.shape[dim] if start < 0 else start
    return aten.slice.Tensor(x, dim, start, start + length).clone()


def permute_copy(x: Tensor, dims: Sizes) -> Tensor:
    return x.permute(list(dims)).clone()


def view_copy(x: Tensor, size: Sizes) -> Tensor:
    return x.reshape(list(size)).clone()


def unbind_copy(x: Tensor, dim: int = 0) -> list[Tensor]:
    return [part.clone() for part in x.unbind(dim)]


def as_strided_copy(x: Tensor, size: Sizes, stride: Sizes, storage_offset: int | None = None) -> Tensor:
    return torch.as_strided(x, size, stride, storage_offset).clone()


# PADS
def replication_pad_backward(grad: Tensor, x: Tensor, padding: Sizes) -> Tensor:
    """Every element takes the gradients of the places that repeat it. Pads come from the last dimension backwards."""
    for i in range(len(padding) // 2):
        axis, extent = -1 - i, x.shape[-1 - i]
        places = [min(max(at - padding[2 * i], 0), extent - 1) for at in range(grad.shape[axis])]
        shape = list(grad.shape)
        shape[axis] = extent
        grad = torch.zeros(shape).index_add(axis, torch.tensor(places), grad)
    return grad


# PRODUCTS
def addbmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * bias + alpha * the sum of products: one product of matrices laid side by side."""
    wide = a.permute(1, 0, 2).reshape(a.shape[1], -1)
    return aten.addmm.default(bias, wide, b.reshape(-1, b.shape[2]), beta=beta, alpha=alpha)


def trilinear(
    first: Tensor,
    second: Tensor,
    third: Tensor,
    expand1: Sizes,
    expand2: Sizes,
    expand3: Sizes,
    sumdim: Sizes,
    unroll_dim: int = 1,
) -> Tensor:
    """The product of three tensors, each given new dimensions of size 1 first, summed over dimensions."""
    parts = []
    for tensor, dims in ((first, expand1), (second, expand2), (third, expand3)):
        for d in dims:
            tensor = tensor.unsqueeze(d)
        parts.append(tensor)
    product = parts[0] * parts[1] * parts[2]
    return aten.sum.dim_IntList(product, list(sumdim)) if sumdim else product


SELECTIONS: dict[OpOverload, Callable] = {
    aten._trilinear.default: trilinear,
    aten.addbmm.default: addbmm,
    aten.as_strided_copy.default: as_strided_copy,
    aten.masked_scatter.default: masked_scatter,
    aten.masked_scatter_backward.default: masked_scatter_backward,
    aten.narrow_copy.default: narrow_copy,
    aten.permute_copy.default: permute_copy,
    aten.put.default: put,
    aten.replication_pad1d_backward.default: replication_pad_backward,
    aten.replication_pad2d_backward.default: replication_pad_backward,
    aten.replication_pad3d_backward.default: replication_pad_backward,
    aten.take.default: take,
    aten.tril_indices.default: tril_indices,
    aten.triu_indices.default: triu_indices,
    aten.unbind_copy.int: unbind_copy,
    aten.view_copy.default: view_copy,
}
