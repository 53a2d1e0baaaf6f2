"""Activations, margins and rounding that PyTorch does not write out itself, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten

MEAN = 1  # of the ``reduction`` argument of losses


def shrink_backward(grad: Tensor, x: Tensor, threshold: float) -> Tensor:
    """Of soft and hard shrinking: nothing passes between -threshold and threshold."""
    return torch.where((x >= -threshold) & (x <= threshold), 0.0, grad)


def angle(x: Tensor) -> Tensor:
    """Of a real number: 0, or pi if it is negative."""
    return (
        torch.where(x != x, x, torch.where(x < 0, math.pi, 0.0))
        if x.is_floating_point()
        else torch.where(x < 0, math.pi, 0.0)
    )


def round_decimals(x: Tensor, *, decimals: int) -> Tensor:
    if not x.is_floating_point():
        return x.clone()
    power = 10.0 ** abs(decimals)
    return (x / power).round() * power if decimals < 0 else (x * power).round() / power


def ldexp(x: Tensor, exponent: Tensor) -> Tensor:
    return x * torch.pow(2.0, exponent)


def no_gradient(shape: list[int], *_: Any, dtype: torch.dtype | None = None, **__: Any) -> Tensor:
    """Autograd's own zeros."""
    return torch.zeros(shape, dtype=dtype)


# MARGINS
def multi_margin_backward(
    grad: Tensor,
    x: Tensor,
    target: Tensor,
    p: float,
    margin: float,
    weight: Tensor | None = None,
    reduction: int = MEAN,
) -> Tensor:
    """Shapes: x (N, C) or (C,), target (N,) or ()."""
    rows, classes = (x.shape[0], x.shape[1]) if x.dim() > 1 else (1, x.numel())
    table, wanted = x.reshape(rows, classes), target.reshape(rows)
    is_target = torch.arange(classes) == wanted.unsqueeze(1)
    own = table.gather(1, wanted.unsqueeze(1))
    over = margin - own + table
    slope = torch.ones(table.shape) if p == 1 else 2.0 * over
    slope = torch.where((over > 0) & ~is_target, slope, 0.0) / classes
    if weight is not None:
        slope = slope * weight.index_select(0, wanted).unsqueeze(1)
    slope = torch.where(is_target, -slope.sum(1, keepdim=True), slope)
    if reduction == MEAN:
        slope = slope / rows
    incoming = grad.reshape(-1, 1) if grad.dim() else grad
    return (slope * incoming).reshape(x.shape)


def multilabel_margin_backward(grad: Tensor, x: Tensor, target: Tensor, reduction: int, is_target: Tensor) -> Tensor:
    """Shapes: x, target and is_target (N, C) or (C,); a row's targets end before its first -1."""
    rows, classes = (x.shape[0], x.shape[1]) if x.dim() > 1 else (1, x.numel())
    table, targets, marked = x.reshape(rows, classes), target.reshape(rows, classes), is_target.reshape(rows, classes)
    counts = (targets < 0).to(torch.int64).cumsum(1) == 0
    chosen = table.gather(1, targets.clamp(min=0))
    # (N, targets, classes): a target less than 1 above what is none
    over = (1.0 - chosen.unsqueeze(2) + table.unsqueeze(1)) > 0
    pushes = (over & counts.unsqueeze(2) & (marked == 0).unsqueeze(1)).to(torch.float32) / classes
    slope = pushes.sum(1).scatter_add(1, targets.clamp(min=0), -pushes.sum(2))
    if reduction == MEAN:
        slope = slope / rows
    incoming = grad.reshape(-1, 1) if grad.dim() else grad
    return (slope * incoming).reshape(x.shape)


ACTIVATIONS: dict[OpOverload, Callable] = {
    aten._efficientzerotensor.default: no_gradient,
    aten.angle.default: angle,
    aten.hardshrink_backward.default: shrink_backward,
    aten.ldexp.Tensor: ldexp,
    aten.multi_margin_loss_backward.default: multi_margin_backward,
    aten.multilabel_margin_loss_backward.default: multilabel_margin_backward,
    aten.round.decimals: round_decimals,
    aten.softshrink_backward.default: shrink_backward,
}
