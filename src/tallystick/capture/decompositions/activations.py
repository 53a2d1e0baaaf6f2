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


def rrelu_backward(
    grad: Tensor, x: Tensor, slopes: Tensor, lower: float, upper: float, training: bool, self_is_result: bool
) -> Tensor:
    """In training the slopes were drawn, and are 1 for positive elements."""
    if training and upper - lower > 1e-6:
        return grad * slopes
    return torch.where(x > 0, grad, grad * ((lower + upper) / 2.0))


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


def multilabel_margin(x: Tensor, target: Tensor, reduction: int) -> tuple[Tensor, Tensor]:
    """Shapes: x and target (N, C) or (C,). Returns the loss, and 1 where a class is a target, in the shape of x."""
    over, is_target = lacking_margins(x, target)
    loss = over.clamp(min=0).sum((1, 2)) / class_count(x)
    marked = is_target.to(x.dtype).reshape(target.shape)
    if reduction == 0:
        return (loss if x.dim() > 1 else loss.reshape([])), marked
    return (loss.sum() / loss.shape[0] if reduction == MEAN else loss.sum()), marked


def multilabel_margin_backward(grad: Tensor, x: Tensor, target: Tensor, reduction: int, is_target: Tensor) -> Tensor:
    over, _ = lacking_margins(x, target)
    pushes = (over > 0).to(torch.float32) / class_count(x)
    rows = pushes.shape[0]
    slope = pushes.sum(1).scatter_add(1, target.reshape(rows, -1).clamp(min=0), -pushes.sum(2))
    if reduction == MEAN:
        slope = slope / rows
    incoming = grad.reshape(-1, 1) if grad.dim() else grad
    return (slope * incoming).reshape(x.shape)


def lacking_margins(x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """By how much every target is less than 1 above every class that is none, 0 elsewhere; and the targets.

    A row's targets end before its first -1. Shapes: (N, targets, C) and (N, C) bool.
    """
    classes = class_count(x)
    rows = x.numel() // classes
    table, targets = x.reshape(rows, classes), target.reshape(rows, classes)
    counts = (targets < 0).to(torch.int64).cumsum(1) == 0
    named = (targets.unsqueeze(2) == torch.arange(classes)) & counts.unsqueeze(2)
    is_target = named.any(1)
    chosen = table.gather(1, targets.clamp(min=0))
    over = 1.0 - chosen.unsqueeze(2) + table.unsqueeze(1)
    return torch.where(counts.unsqueeze(2) & ~is_target.unsqueeze(1), over, 0.0), is_target


def class_count(x: Tensor) -> int:
    return x.shape[-1] if x.dim() else 1


ACTIVATIONS: dict[OpOverload, Callable] = {
    aten._efficientzerotensor.default: no_gradient,
    aten.angle.default: angle,
    aten.hardshrink_backward.default: shrink_backward,
    aten.ldexp.Tensor: ldexp,
    aten.multi_margin_loss_backward.default: multi_margin_backward,
    aten.multilabel_margin_loss_backward.default: multilabel_margin_backward,
    aten.multilabel_margin_loss_forward.default: multilabel_margin,
    aten.round.decimals: round_decimals,
    aten.rrelu_with_noise_backward.default: rrelu_backward,
    aten.softshrink_backward.default: shrink_backward,
}
