"""Operators that take, put, copy or make elements by place, written with those that are lowered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.errors import CaptureError

aten = torch.ops.aten
Sizes = Sequence[int]

BAG_SUM, BAG_MEAN = 0, 1  # of the ``mode`` argument of embedding bags


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


# BAGS OF EMBEDDINGS
def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = BAG_SUM,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums or means of rows of a table. Shapes: weight (V, D), indices (n,), offsets (bags,) -> (bags, D).

    Also returns the bag of every index, the size of every bag, and something only maxima need.
    """
    if mode not in (BAG_SUM, BAG_MEAN) or scale_grad_by_freq:
        raise CaptureError("embedding_bag can be captured with mode sum or mean, and scale_grad_by_freq=False")
    bags = offsets.shape[0] - int(include_last_offset)
    bag = (offsets[:bags] <= torch.arange(indices.shape[0]).unsqueeze(1)).sum(1) - 1
    counted = torch.ones(indices.shape, dtype=torch.int64) if padding_idx < 0 else (indices != padding_idx).long()
    rows = weight.index_select(0, indices) * counted.to(torch.float32).unsqueeze(1)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    size = torch.zeros(bags, dtype=torch.int64).index_add(0, bag, counted)
    total = torch.zeros(bags, weight.shape[1]).index_add(0, bag, rows)
    if mode == BAG_MEAN:
        total = total / size.clamp(min=1).to(torch.float32).unsqueeze(1)
    return total, bag, size, torch.zeros(bags, dtype=torch.int64)


def embedding_bag_backward(
    grad: Tensor,
    indices: Tensor,
    offsets: Tensor,
    offset2bag: Tensor,
    bag_size: Tensor,
    maximum_indices: Tensor,
    num_weights: int,
    scale_grad_by_freq: bool,
    mode: int,
    sparse: bool,
    per_sample_weights: Tensor | None,
    padding_idx: int = -1,
) -> Tensor:
    if mode == BAG_MEAN:
        grad = grad / bag_size.clamp(min=1).to(torch.float32).unsqueeze(1)
    rows = grad.index_select(0, offset2bag)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    if padding_idx >= 0:
        rows = torch.where((indices != padding_idx).unsqueeze(1), rows, 0.0)
    return torch.zeros(num_weights, grad.shape[1]).index_add(0, indices, rows)


def embedding_bag_weights_backward(
    grad: Tensor, weight: Tensor, indices: Tensor, offsets: Tensor, offset2bag: Tensor, mode: int, padding_idx: int = -1
) -> Tensor:
    """The gradient by the weight of every index."""
    share = (grad.index_select(0, offset2bag) * weight.index_select(0, indices)).sum(1)
    return share if padding_idx < 0 else torch.where(indices != padding_idx, share, 0.0)


SELECTIONS: dict[OpOverload, Callable] = {
    aten._embedding_bag.default: embedding_bag,
    aten._embedding_bag_backward.default: embedding_bag_backward,
    aten._embedding_bag_forward_only.default: embedding_bag,
    aten._embedding_bag_per_sample_weights_backward.default: embedding_bag_weights_backward,
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
}
