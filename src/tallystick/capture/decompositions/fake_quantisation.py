"""Fake quantisation: rounding to the values that a few integers can stand for, and observers that find the range.

A number x becomes (clamp(round(x / scale) + zero point) - zero point) * scale. The gradient passes where nothing was
clamped. PyTorch finds ranges in float64 and rounds once; here it is float32 throughout, so a scale may differ in its
last digit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.capture.tracing.provenance import here
from tallystick.errors import CaptureError

aten = torch.ops.aten

SMALLEST_SCALE = 6.1e-5  # the smallest normal number of 16 bits, below which PyTorch lets no scale fall
UNUSABLE = 0.1  # PyTorch's scale for a range of nothing but 0

Pair = tuple[Tensor, Tensor]
Triple = tuple[Tensor, Tensor, Tensor]


# ROUNDING
def quantised(x: Tensor, inverse: Tensor | float, zero_point: Tensor | int) -> Tensor:
    """The whole numbers, not clamped yet, as float32."""
    return (x * inverse).round() + zero_point


def restored(q: Tensor, scale: Tensor | float, zero_point: Tensor | int, low: int, high: int) -> Pair:
    """The values they stand for, and where nothing is clamped."""
    return (q.clamp(low, high) - zero_point) * scale, (q >= low) & (q <= high)


def per_tensor(x: Tensor, scale: float, zero_point: int, low: int, high: int) -> Pair:
    single = np.float32(scale)
    q = quantised(x, float(np.float32(1.0) / single), zero_point)
    return restored(q, float(single), zero_point, low, high)


def per_tensor_by_tensors(x: Tensor, scale: Tensor, zero_point: Tensor, enabled: Tensor, low: int, high: int) -> Pair:
    """Shapes: scale, zero_point and enabled of one element each."""
    scale, zero_point = scale.reshape(()), zero_point.reshape(())
    values, inside = restored(quantised(x, 1.0 / scale, zero_point), scale, zero_point, low, high)
    on = enabled.reshape(()) != 0
    return torch.where(on, values, x), inside | ~on


def per_channel(x: Tensor, scale: Tensor, zero_point: Tensor, axis: int, low: int, high: int) -> Pair:
    """A scale and a zero point, which may be a float, for every index of an axis. Shapes: scale, zero_point (n,)."""
    scale, zero_point = along(scale, axis, x), along(zero_point, axis, x)
    if zero_point.is_floating_point():
        q = (x * (1.0 / scale) + zero_point).round()
    else:
        q = quantised(x, 1.0 / scale, zero_point)
    return restored(q, scale, zero_point, low, high)


def along(parameters: Tensor, axis: int, x: Tensor) -> Tensor:
    return parameters.reshape([-1 if d == axis else 1 for d in range(x.dim())])


def mask_backward(grad: Tensor, mask: Tensor) -> Tensor:
    return grad * mask


# LEARNED SCALES
def learnable_per_tensor(
    x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int, grad_factor: float = 1.0
) -> Tensor:
    """Shapes: scale and zero_point (1,), float32."""
    zero_point = zero_point.reshape(()).round().clamp(low, high)
    scale = scale.reshape(())
    return restored(quantised(x, 1.0 / scale, zero_point), scale, zero_point, low, high)[0]


def learnable_per_tensor_backward(
    grad: Tensor, x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int, grad_factor: float = 1.0
) -> Triple:
    # PyTorch rounds the zero point in another way than forwards.
    rounded = (zero_point.reshape(()) + 0.5).clamp(low, high).trunc()
    by_x, by_scale, by_zero_point = learnt(grad, x, scale.reshape(()), rounded, low, high, grad_factor)
    return by_x, by_scale.sum().reshape(1), by_zero_point.sum().reshape(1)


def learnable_per_channel(
    x: Tensor, scale: Tensor, zero_point: Tensor, axis: int, low: int, high: int, grad_factor: float = 1.0
) -> Tensor:
    zero_point = along(zero_point.round().clamp(low, high), axis, x)
    scale = along(scale, axis, x)
    return restored(quantised(x, 1.0 / scale, zero_point), scale, zero_point, low, high)[0]


def learnable_per_channel_backward(
    grad: Tensor, x: Tensor, scale: Tensor, zero_point: Tensor, axis: int, low: int, high: int, grad_factor: float = 1.0
) -> Triple:
    rounded = along(zero_point.round().clamp(low, high), axis, x)
    by_x, by_scale, by_zero_point = learnt(grad, x, along(scale, axis, x), rounded, low, high, grad_factor)
    others = [d for d in range(x.dim()) if d != axis]
    if not others:
        return by_x, by_scale, by_zero_point
    return by_x, by_scale.sum(others), by_zero_point.sum(others)


def learnt(
    grad: Tensor, x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int, grad_factor: float
) -> Triple:
    """The gradients by x, and of every element by the scale and the zero point."""
    q = quantised(x, 1.0 / scale, zero_point)
    values, inside = restored(q, scale, zero_point, low, high)
    ends = torch.where(q < low, low - zero_point, high - zero_point)
    by_scale = torch.where(inside, (values - x) * (1.0 / scale), ends) * grad * grad_factor
    by_zero_point = torch.where(inside, 0.0, -grad * scale * grad_factor)
    return grad * inside, by_scale, by_zero_point


# OBSERVED RANGES
def observe_and_quantise(
    x: Tensor,
    observer_on: Tensor,
    fake_quant_on: Tensor,
    running_min: Tensor,
    running_max: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    averaging_const: float,
    low: int,
    high: int,
    ch_axis: int,
    per_row_fake_quant: bool = False,
    symmetric_quant: bool = False,
) -> Pair:
    """Follows the range of x, if the observer is on, and quantises by it, if that is on. Writes into the four buffers.

    Shapes: buffers of one element, or of one for each row.
    Raises: CaptureError for buffers that have no size yet.
    """
    if not running_min.numel():
        raise CaptureError(
            f"fake quantisation by channels{here()} gives its buffers their size when it is called first, and a job's "
            "state has one size from the start: call the model once on a batch before you give it to the job"
        )
    rows = x.movedim(ch_axis, 0).reshape(x.shape[ch_axis], -1) if per_row_fake_quant else x.reshape(1, -1)
    for running, now in ((running_min, rows.amin(1)), (running_max, rows.amax(1))):
        now = now.reshape(running.shape)
        followed = torch.where(running.abs() == math.inf, now, running + averaging_const * (now - running))
        running.copy_(torch.where(observer_on.reshape(()) == 1, followed, running))
    on = fake_quant_on.reshape(()) == 1
    found, place = chosen(running_min, running_max, low, high, symmetric_quant)
    scale.copy_(torch.where(on, found.reshape(scale.shape), scale))
    zero_point.copy_(torch.where(on, place.reshape(zero_point.shape).to(zero_point.dtype), zero_point))
    if not per_row_fake_quant:
        return per_tensor_by_tensors(x, scale, zero_point, fake_quant_on == 1, low, high)
    values, inside = per_channel(x, scale, zero_point, ch_axis, low, high)
    return torch.where(on, values, x), inside | ~on


def chosen(least: Tensor, most: Tensor, low: int, high: int, symmetric: bool) -> Pair:
    """Scale and zero point for a range, which is extended to hold 0; the zero point is a whole number in float32."""
    steps = high - low
    if symmetric:
        # Where both signs occur, the range is as wide on either side of 0.
        below, above = steps // 2 + 1, steps // 2
        widest = torch.maximum(least.abs() / below, most.abs() / above)
        both = (least < 0) & (most > 0)
        least, most = torch.where(both, widest * -below, least), torch.where(both, widest * above, most)
    least, most = least.clamp(max=0.0), most.clamp(min=0.0)
    scale = (most - least) / steps
    scale = torch.where((scale == 0) | ((1.0 / scale) == math.inf), UNUSABLE, scale)
    small = scale < SMALLEST_SCALE
    wider = SMALLEST_SCALE / scale
    least = torch.where(small, torch.where(most == 0, -SMALLEST_SCALE * steps, least * wider), least)
    most = torch.where(small, torch.where(least == 0, SMALLEST_SCALE * steps, most * wider), most)
    scale = scale.clamp(min=SMALLEST_SCALE)
    from_least, from_most = low - least / scale, high - most / scale
    nearer_least = abs(low) + (least / scale).abs() < abs(high) + (most / scale).abs()
    zero_point = torch.where(nearer_least, from_least, from_most)
    if symmetric:
        zero_point = torch.where((least < 0) & (most > 0), (low + high) / 2.0, zero_point)
    return scale, zero_point.round().clamp(low, high)


FAKE_QUANTISATION: dict[OpOverload, Callable] = {
    aten._fake_quantize_learnable_per_channel_affine.default: learnable_per_channel,
    aten._fake_quantize_learnable_per_channel_affine_backward.default: learnable_per_channel_backward,
    aten._fake_quantize_learnable_per_tensor_affine.default: learnable_per_tensor,
    aten._fake_quantize_learnable_per_tensor_affine_backward.default: learnable_per_tensor_backward,
    aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default: per_tensor_by_tensors,
    aten.fake_quantize_per_channel_affine_cachemask.default: per_channel,
    aten.fake_quantize_per_channel_affine_cachemask_backward.default: mask_backward,
    aten.fake_quantize_per_tensor_affine_cachemask.default: per_tensor,
    aten.fake_quantize_per_tensor_affine_cachemask_backward.default: mask_backward,
}
