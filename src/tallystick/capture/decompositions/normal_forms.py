"""Operators written out our way: sums instead of statistics, choices instead of scatters, pads instead of zeros.

Each function has the signature of its operator and is handed fake tensors; see the operator's documentation in
PyTorch for its arguments. Shapes are PyTorch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.capture.decompositions.resampling import (
    upsample_bilinear2d_backward,
    upsample_nearest2d,
    upsample_nearest2d_backward,
)
from tallystick.errors import CaptureError

aten = torch.ops.aten

MEAN = 1  # of the ``reduction`` argument of losses
Sizes = Sequence[int]


# STATISTICS
def mean(x: Tensor, dim: Sizes | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor:
    """Sum over count."""
    x = x if dtype is None else x.to(dtype)
    return aten.sum.dim_IntList(x, dim, keepdim) / count(x, dim)


def var_mean(
    x: Tensor, dim: Sizes | None = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Two passes: the squares are of centred values, so nothing cancels."""
    elements = count(x, dim)
    centre = aten.sum.dim_IntList(x, dim, True) / elements
    centred = x - centre
    squares = aten.sum.dim_IntList(centred * centred, dim, keepdim)
    divisor = max(0.0, elements - (1.0 if correction is None else correction))
    return squares / divisor, centre if keepdim else centre.reshape(squares.shape)


def var(x: Tensor, dim: Sizes | None = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    return var_mean(x, dim, correction=correction, keepdim=keepdim)[0]


def std(x: Tensor, dim: Sizes | None = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    return var(x, dim, correction=correction, keepdim=keepdim).sqrt()


def count(x: Tensor, dim: Sizes | None) -> int:
    """Elements that a reduction over these dimensions takes together."""
    return math.prod(x.shape[d] for d in dim) if dim else x.numel()


def batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalisation over all axes but the second; running statistics are updated in place.

    Shapes: x (N, C, ...); weight, bias, running_mean, running_var (C,). Returns the output, the batch's mean and
    1 / sqrt(variance + eps), both empty in evaluation.
    """
    shape = [1, -1] + [1] * (x.dim() - 2)
    if training:
        axes = [axis for axis in range(x.dim()) if axis != 1]
        elements = count(x, axes)
        centre = x.sum(axes) / elements
        centred = x - centre.view(shape)
        squares = (centred * centred).sum(axes)
        invstd = torch.rsqrt(squares / elements + eps)
        saved = (centre, invstd)
        if running_mean is not None:
            running_mean.copy_(momentum * centre + (1 - momentum) * running_mean)
        if running_var is not None:
            running_var.copy_(momentum * (squares / (elements - 1)) + (1 - momentum) * running_var)
    else:
        assert running_mean is not None and running_var is not None, "PyTorch checks this before"
        centred = x - running_mean.view(shape)
        invstd = torch.rsqrt(running_var + eps)
        saved = (x.new_empty(0), x.new_empty(0))
    out = centred * invstd.view(shape)
    if weight is not None:
        out = out * weight.view(shape)
    if bias is not None:
        out = out + bias.view(shape)
    return out, *saved


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    """v scaled to norm g over all dimensions but one. Shapes: v (..., n, ...), g (1, ..., n, ..., 1)."""
    axes = [d for d in range(v.dim()) if d != dim % v.dim()]
    norm = (v * v).sum(axes, True).sqrt()
    return v * (g / norm), norm


def weight_norm_backward(grad: Tensor, v: Tensor, g: Tensor, norm: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    axes = [d for d in range(v.dim()) if d != dim % v.dim()]
    along = (grad * v).sum(axes, True) / norm
    return (g / norm) * (grad - v * (along / norm)), along


# LOSSES
def nll_loss_backward(
    grad: Tensor,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignore_index: int,
    total_weight: Tensor,
) -> Tensor:
    """-grad at the target's class, 0 elsewhere: a choice per element, where PyTorch scatters into zeros.

    Shapes: x (N, C, ...) or (C,), target x without its classes.
    """
    classes = 1 if x.dim() > 1 else 0
    if reduction == MEAN:
        grad = grad / total_weight
    target = target.reshape([*x.shape[:classes], 1, *x.shape[classes + 1 :]])
    if grad.dim() > 0:
        grad = grad.reshape(target.shape)
    shape = [1] * x.dim()
    shape[classes] = x.shape[classes]
    chosen = torch.arange(x.shape[classes]).view(shape) == target
    chosen = chosen & (target != ignore_index)
    if weight is not None:
        grad = grad * weight.view(shape)
    return torch.where(chosen, -grad, 0.0)


# PARTS
def split_with_sizes(x: Tensor, sizes: Sizes, dim: int = 0) -> list[Tensor]:
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [aten.slice.Tensor(x, dim, start, start + size) for start, size in zip(starts, sizes, strict=True)]


def slice_backward(grad: Tensor, shape: Sizes, dim: int, start: int, end: int, step: int) -> Tensor:
    """The gradient with zeros around it (and between, for a step)."""
    dim = dim % len(shape)
    start, end, _ = slice(start, end).indices(shape[dim])
    if step != 1:
        grad = spread(grad, dim, step)
    return padded(grad, dim, start, shape[dim] - start - grad.shape[dim])


def select_backward(grad: Tensor, shape: Sizes, dim: int, index: int) -> Tensor:
    dim = dim % len(shape)
    index = index % shape[dim]
    return padded(grad.unsqueeze(dim), dim, index, shape[dim] - index - 1)


def spread(x: Tensor, dim: int, step: int) -> Tensor:
    """The elements of a dimension with step - 1 zeros between them: n -> (n - 1) * step + 1."""
    grown = padded(x.unsqueeze(dim + 1), dim + 1, 0, step - 1)
    shape = [*x.shape[:dim], x.shape[dim] * step, *x.shape[dim + 1 :]]
    return aten.slice.Tensor(grown.reshape(shape), dim, 0, (x.shape[dim] - 1) * step + 1)


def padded(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Zeros before and after a dimension; negative numbers cut."""
    pads = [0, 0] * x.dim()
    pads[2 * (x.dim() - 1 - dim)] = before
    pads[2 * (x.dim() - 1 - dim) + 1] = after
    return x if before == after == 0 else aten.constant_pad_nd.default(x, pads)


def diagonal_scatter(x: Tensor, source: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """x with another diagonal: a choice at every element. Shapes: source (..., length of the diagonal)."""
    dim1, dim2 = dim1 % x.dim(), dim2 % x.dim()
    order = [d for d in range(x.dim()) if d not in (dim1, dim2)] + [dim1, dim2]
    moved = x.permute(order)
    rows, columns = moved.shape[-2:]
    place = torch.arange(columns) - torch.arange(rows).unsqueeze(1)
    # The diagonal's elements count rows; where it starts lower, that many come before.
    skipped = max(0, -offset)
    spread = padded(source, source.dim() - 1, skipped, rows - skipped - source.shape[-1]).unsqueeze(-1)
    return torch.where(place == offset, spread, moved).permute([order.index(d) for d in range(x.dim())])


def diagonal_backward(grad: Tensor, shape: Sizes, offset: int, dim1: int, dim2: int) -> Tensor:
    return diagonal_scatter(torch.zeros(shape), grad, offset, dim1, dim2)


def select_scatter(x: Tensor, source: Tensor, dim: int, index: int) -> Tensor:
    dim = dim % x.dim()
    index = index % x.shape[dim]
    place = torch.arange(x.shape[dim]).view([-1 if d == dim else 1 for d in range(x.dim())])
    return torch.where(place == index, source.unsqueeze(dim), x)


def index_put(x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Any:
    """``x[mask] = number`` as a choice; other masks would need a shape that depends on data."""
    masks = [index for index in indices if index is not None and index.dtype == torch.bool]
    if not masks:
        return NotImplemented
    at = next(place for place, index in enumerate(indices) if index is not None)
    if len([index for index in indices if index is not None]) > 1 or values.numel() != 1 or accumulate:
        raise CaptureError("assigning to a boolean mask takes one number; use torch.where(mask, new, old) instead")
    shape = [1] * at + list(masks[0].shape) + [1] * (x.dim() - at - masks[0].dim())
    return torch.where(masks[0].reshape(shape), values.reshape([1] * x.dim()), x)


# SOURCES
def zeros(shape: Sizes, *_: Any, dtype: torch.dtype | None = None, **__: Any) -> Tensor:
    """Memory that nobody has written yet: zero, so that every run is the same."""
    return torch.zeros(list(shape), dtype=dtype)


NORMAL_FORMS: dict[OpOverload, Callable] = {
    aten._is_all_true.default: torch.all,
    aten._is_any_true.default: torch.any,
    aten._weight_norm_interface.default: weight_norm,
    aten._weight_norm_interface_backward.default: weight_norm_backward,
    aten.diagonal_backward.default: diagonal_backward,
    aten.diagonal_scatter.default: diagonal_scatter,
    aten.empty.memory_format: zeros,
    aten.empty_permuted.default: zeros,
    aten.empty_strided.default: zeros,
    aten.index_put.default: index_put,
    aten.mean.default: mean,
    aten.mean.dim: mean,
    aten.nll_loss2d_backward.default: nll_loss_backward,
    aten.nll_loss_backward.default: nll_loss_backward,
    aten.select_backward.default: select_backward,
    aten.select_scatter.default: select_scatter,
    aten.slice_backward.default: slice_backward,
    aten.split_with_sizes.default: split_with_sizes,
    aten.std.correction: std,
    aten.upsample_bilinear2d_backward.default: upsample_bilinear2d_backward,
    aten.upsample_nearest2d.default: upsample_nearest2d,
    aten.upsample_nearest2d_backward.default: upsample_nearest2d_backward,
    aten.var.correction: var,
    aten.var_mean.correction: var_mean,
}
