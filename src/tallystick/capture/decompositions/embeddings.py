"""Embeddings with their options, and bags of embeddings, written with operators that are lowered."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.errors import CaptureError

aten = torch.ops.aten

BAG_SUM, BAG_MEAN, BAG_MAX = 0, 1, 2  # of the ``mode`` argument of embedding bags


# TABLES
def renorm(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """The table with the rows that are looked up scaled down to a norm. Shapes: weight (V, D), indices any."""
    used = indices.reshape(-1)
    rows = weight.index_select(0, used)
    norm = torch.linalg.vector_norm(rows, norm_type, 1, keepdim=True)
    scale = torch.where(norm > max_norm, max_norm / (norm + 1e-7), 1.0)
    # A row that is looked up twice is written twice, with the same numbers.
    return weight.index_put([used], rows * scale)


def renorm_(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    return weight.copy_(renorm(weight, indices, max_norm, norm_type))


def embedding_backward(
    grad: Tensor, indices: Tensor, num_weights: int, padding_idx: int, scale_grad_by_freq: bool
) -> Any:
    """Of a table whose rows' gradients are divided by how often a row was looked up; others are lowered whole."""
    if not scale_grad_by_freq:
        return NotImplemented
    shares = grad / times_used(indices, num_weights).reshape(indices.shape).unsqueeze(-1)
    return aten.embedding_dense_backward.default(shares, indices, num_weights, padding_idx, False)


def times_used(indices: Tensor, num_weights: int) -> Tensor:
    """How often each index stands among all. Shapes: (...) -> (n,), float32."""
    used = indices.reshape(-1)
    ones = torch.ones(used.shape, dtype=torch.int64)
    return torch.zeros(num_weights, dtype=torch.int64).index_add(0, used, ones).index_select(0, used).float()


# BAGS
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
    """Sums, means or maxima of rows of a table. Shapes: weight (V, D), indices (n,), offsets (bags,) -> (bags, D).

    Also returns the bag of every index, the size of every bag, and, of maxima, the rows that they come from.
    """
    bags = offsets.shape[0] - int(include_last_offset)
    bag = (offsets[:bags] <= torch.arange(indices.shape[0]).unsqueeze(1)).sum(1) - 1
    counted = torch.ones(indices.shape, dtype=torch.int64) if padding_idx < 0 else (indices != padding_idx).long()
    size = torch.zeros(bags, dtype=torch.int64).index_add(0, bag, counted)
    rows = weight.index_select(0, indices)
    if mode == BAG_MAX:
        largest, chosen = maxima(rows, indices, bag, counted != 0, size != 0)
        return largest, bag, size, chosen
    rows = rows * counted.to(torch.float32).unsqueeze(1)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    total = torch.zeros(bags, weight.shape[1]).index_add(0, bag, rows)
    if mode == BAG_MEAN:
        total = total / size.clamp(min=1).to(torch.float32).unsqueeze(1)
    return total, bag, size, torch.zeros(bags, dtype=torch.int64)


def maxima(rows: Tensor, indices: Tensor, bag: Tensor, counts: Tensor, filled: Tensor) -> tuple[Tensor, Tensor]:
    """The largest number of every column in every bag, of equals the first, and the table's row it stands in.

    Shapes: rows (n, D), indices, bag and counts (n,), filled (bags,) -> (bags, D) twice. Empty bags have zeros.
    """
    shape, count = (filled.shape[0], rows.shape[1]), rows.shape[0]
    where = bag.unsqueeze(1).expand(rows.shape)
    seen = torch.where(counts.unsqueeze(1), rows, -math.inf)
    largest = torch.full(shape, -math.inf).scatter_reduce(0, where, seen, "amax")
    is_largest = (seen == largest.gather(0, where)) & counts.unsqueeze(1)
    place = torch.where(is_largest, torch.arange(count).unsqueeze(1), count - 1)
    first = torch.full(shape, count - 1).scatter_reduce(0, where, place, "amin")
    chosen = indices.index_select(0, first.reshape(-1)).reshape(shape)
    return torch.where(filled.unsqueeze(1), largest, 0.0), torch.where(filled.unsqueeze(1), chosen, 0)


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
    """Of the table, always dense: a sparse gradient has the same numbers. Shapes: grad (bags, D) -> (V, D)."""
    if scale_grad_by_freq:
        raise CaptureError(
            "a bag of embeddings with scale_grad_by_freq=True cannot be captured: PyTorch divides by how often another "
            "row was looked up on a processor. Take nn.Embedding with scale_grad_by_freq=True and sum its rows"
        )
    table = torch.zeros(num_weights, grad.shape[1])
    if mode == BAG_MAX:
        passed = torch.where((bag_size != 0).unsqueeze(1), grad, 0.0)
        return table.scatter_add(0, maximum_indices, passed)
    if mode == BAG_MEAN:
        grad = grad / bag_size.clamp(min=1).to(torch.float32).unsqueeze(1)
    rows = grad.index_select(0, offset2bag)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    if padding_idx >= 0:
        rows = torch.where((indices != padding_idx).unsqueeze(1), rows, 0.0)
    return table.index_add(0, indices, rows)


def embedding_bag_weights_backward(
    grad: Tensor, weight: Tensor, indices: Tensor, offsets: Tensor, offset2bag: Tensor, mode: int, padding_idx: int = -1
) -> Tensor:
    """The gradient by the weight of every index."""
    share = (grad.index_select(0, offset2bag) * weight.index_select(0, indices)).sum(1)
    return share if padding_idx < 0 else torch.where(indices != padding_idx, share, 0.0)


EMBEDDINGS: dict[OpOverload, Callable] = {
    aten._embedding_bag.default: embedding_bag,
    aten._embedding_bag_backward.default: embedding_bag_backward,
    aten._embedding_bag_forward_only.default: embedding_bag,
    aten._embedding_bag_per_sample_weights_backward.default: embedding_bag_weights_backward,
    aten.embedding_dense_backward.default: embedding_backward,
    aten.embedding_renorm.default: renorm,
}
