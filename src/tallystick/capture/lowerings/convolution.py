"""Convolutions and their gradients as contractions over windows; nothing is ever copied into columns.

Shapes, in any number of spatial dimensions: x (N, C, *in), weight (O, C / groups, *kernel), y (N, O, *out), with
out = (in + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1. A transposed convolution is the gradient of one by
its input, so three functions do all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from math import gcd, prod

import torch

from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.views import TensorView
from tallystick.errors import CaptureError
from tallystick.spec.tensors import DType

aten = torch.ops.aten
Sizes = Sequence[int]

PHASES = 16  # a strided gradient is split into at most this many stride-1 convolutions


@lowers(aten.convolution.default)
def convolution(
    ctx: Lowering,
    x: TensorView,
    weight: TensorView,
    bias: TensorView | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
) -> TensorView:
    spatial = x.rank - 2
    require_floats(ctx, x, weight)
    stride, padding, dilation = (all_axes(sizes, spatial) for sizes in (stride, padding, dilation))
    if transposed:
        y = input_gradient(ctx, x, weight, ctx.result.shape[2:], stride, padding, dilation, groups)
    else:
        y = windowed_product(ctx, x, weight, stride, [(p, p) for p in padding], dilation, groups)
    if bias is None:
        return y
    bias = bias.reshape([1, -1] + [1] * spatial)
    return ctx.map(DType.F32, lambda b, y, bias: b.fadd(y, bias), y, bias)


@lowers(aten.convolution_backward.default)
def convolution_backward(
    ctx: Lowering,
    grad: TensorView,
    x: TensorView,
    weight: TensorView,
    bias_sizes: Sizes | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[TensorView | None, TensorView | None, TensorView | None]:
    spatial = x.rank - 2
    require_floats(ctx, x, weight)
    stride, padding, dilation = (all_axes(sizes, spatial) for sizes in (stride, padding, dilation))
    grad_x = grad_weight = grad_bias = None
    if output_mask[0] and transposed:
        grad_x = windowed_product(ctx, grad, weight, stride, [(p, p) for p in padding], dilation, groups)
        grad_x = fitted(grad_x, x.shape)
    elif output_mask[0]:
        grad_x = input_gradient(ctx, grad, weight, x.shape[2:], stride, padding, dilation, groups)
    if output_mask[1]:
        outer, inner = (x, grad) if transposed else (grad, x)
        grad_weight = weight_gradient(ctx, outer, inner, weight.shape[2:], stride, padding, dilation, groups)
    if output_mask[2]:
        grad_bias = ctx.sum(grad, [0, *range(2, grad.rank)])
    return grad_x, grad_weight, grad_bias


def windowed_product(
    ctx: Lowering,
    x: TensorView,
    weight: TensorView,
    stride: Sizes,
    padding: Sequence[tuple[int, int]],
    dilation: Sizes,
    groups: int,
) -> TensorView:
    """y[n, o, *out] = sum over (c, *k) of x[n, c, out * stride + k * dilation - before] * weight[o, c, *k]."""
    spatial = x.rank - 2
    kernel = weight.shape[2:]
    windows = spatial_windows(x, kernel, stride, padding, dilation)  # (N, C, *out, *kernel)
    out = windows.shape[2 : 2 + spatial]
    n, channels = x.shape[:2]
    inner = channels // groups
    # (N, G, O / G, *out | C / G, *kernel)
    a = windows.reshape([n, groups, inner, *out, *kernel])
    a = a.permute([0, 1, *range(3, 3 + spatial), 2, *range(3 + spatial, 3 + 2 * spatial)]).unsqueeze(2)
    w = weight.reshape([1, groups, -1, *[1] * spatial, inner, *kernel])
    y = ctx.contract(a, w, 1 + spatial)
    return y.reshape([n, weight.shape[0], *out])


def weight_gradient(
    ctx: Lowering,
    grad: TensorView,
    x: TensorView,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> TensorView:
    """grad_w[o, c, *k] = sum over (n, *out) of grad[n, o, *out] * x[n, c, out * stride + k * dilation - padding]."""
    spatial = x.rank - 2
    n, outputs, *out = grad.shape
    windows = spatial_windows(x, kernel, stride, [(p, p) for p in padding], dilation)
    for d in range(spatial):
        # A transposed convolution's x may have rows that no window of its gradient reaches.
        windows = windows.slice(2 + d, 0, out[d])
    inner = x.shape[1] // groups
    # (G, O / G, C / G, *kernel | N, *out)
    b = windows.reshape([n, groups, inner, *out, *kernel])
    b = b.permute([1, 2, *range(3 + spatial, 3 + 2 * spatial), 0, *range(3, 3 + spatial)]).unsqueeze(1)
    a = grad.reshape([n, groups, outputs // groups, *out])
    a = a.permute([1, 2, 0, *range(3, 3 + spatial)]).reshape([groups, outputs // groups, *[1] * (1 + spatial), n, *out])
    return ctx.contract(a, b, 1 + spatial).reshape([outputs, inner, *kernel])


def input_gradient(
    ctx: Lowering,
    grad: TensorView,
    weight: TensorView,
    extents: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> TensorView:
    """grad_x[n, c, *i] = sum of grad[n, o, *out] * weight[o, c, *k] where out * stride + k * dilation - padding = i.

    Where every window is a tile of its own, each element meets one element of ``grad``: a contraction over channels.
    Else the elements with equal i % stride form a *phase*, for which it is a convolution with every stride-th row of
    the flipped kernel. Too many phases are one convolution over ``grad`` with zeros between its elements.
    """
    spatial = grad.rank - 2
    flipped = swapped(weight, groups)
    if all(s == k and d == 1 for s, k, d in zip(stride, weight.shape[2:], dilation, strict=True)) and prod(stride) > 1:
        tiles = tiled_product(ctx, grad, flipped, groups)
        return framed(tiles, padding, extents)
    if prod(stride) > PHASES:
        for d in range(spatial):
            grad = with_zeros_between(grad, 2 + d, stride[d])
        stride = [1] * spatial
    first = [p // s for p, s in zip(padding, stride, strict=True)]
    quotients = [(i - 1 + p) // s - f + 1 for i, p, s, f in zip(extents, padding, stride, first, strict=True)]
    phases = []
    for residues in product(*(range(s) for s in stride)):
        phase = one_phase(ctx, grad, flipped, residues, first, quotients, stride, dilation, groups)
        if phase is not None:
            phases.append((residues, phase))
    whole = interleaved(ctx, phases, stride, [grad.shape[0], flipped.shape[0], *quotients])
    return framed(whole, [p - f * s for p, f, s in zip(padding, first, stride, strict=True)], extents)


def one_phase(
    ctx: Lowering,
    grad: TensorView,
    flipped: TensorView,
    residues: Sizes,
    first: Sizes,
    quotients: Sizes,
    stride: Sizes,
    dilation: Sizes,
    groups: int,
) -> TensorView | None:
    """Elements i with i + padding = stride * q + residue, for all q from ``first``; None where no window reaches.

    k takes part where k * dilation = residue (mod stride): k = k_0 + j * step; it meets out = q + c - j * spread.
    """
    pads, spreads = [], []
    for d in range(grad.rank - 2):
        kernel = flipped.shape[2 + d]
        step = stride[d] // gcd(stride[d], dilation[d])
        taps = [k for k in range(kernel) if (k * dilation[d] - residues[d]) % stride[d] == 0]
        if not taps:
            return None
        spread = step * dilation[d] // stride[d]
        offset = (residues[d] - taps[0] * dilation[d]) // stride[d]
        lowest = first[d] + offset - (len(taps) - 1) * spread
        highest = first[d] + quotients[d] - 1 + offset
        pads.append((-lowest, highest - grad.shape[2 + d] + 1))
        spreads.append(spread)
        flipped = flipped.slice(2 + d, taps[0], kernel, step).flip([2 + d])
    return windowed_product(ctx, grad, flipped, [1] * len(pads), pads, spreads, groups)


def tiled_product(ctx: Lowering, grad: TensorView, swapped_weight: TensorView, groups: int) -> TensorView:
    """Every element of ``grad`` spread over a tile of the kernel's size: (N, O, *out) -> (N, C, *(out * kernel))."""
    spatial = grad.rank - 2
    n, outputs, *out = grad.shape
    channels, inner, *kernel = swapped_weight.shape
    # (N, G, C / G, out_1, k_1, out_2, k_2, ... | O / G)
    a = grad.reshape([n, groups, outputs // groups, *(size for extent in out for size in (extent, 1))])
    a = a.permute([0, 1, *range(3, 3 + 2 * spatial), 2]).unsqueeze(2)
    w = swapped_weight.reshape(
        [groups, channels // groups, inner, *(size for extent in kernel for size in (1, extent))]
    )
    w = w.permute([0, 1, *range(3, 3 + 2 * spatial), 2]).unsqueeze(0)
    y = ctx.contract(a, w, 1)
    return y.reshape([n, channels, *(o * k for o, k in zip(out, kernel, strict=True))])


def swapped(weight: TensorView, groups: int) -> TensorView:
    """The weight with inputs and outputs exchanged within each group: (O, C / G, *k) -> (C, O / G, *k)."""
    outputs, inner, *kernel = weight.shape
    grouped = weight.reshape([groups, outputs // groups, inner, *kernel])
    return grouped.transpose(1, 2).reshape([groups * inner, outputs // groups, *kernel])


def interleaved(ctx: Lowering, phases: Sequence[tuple[Sizes, TensorView]], stride: Sizes, shape: Sizes) -> TensorView:
    """Phases side by side: element q of the phase with these residues goes to place q * stride + residue."""
    n, channels, *quotients = shape
    if prod(stride) == 1 and phases:
        return phases[0][1]
    spread_views = []
    for residues, phase in phases:
        view = phase
        for d, (residue, s) in enumerate(zip(residues, stride, strict=True)):
            view = view.unsqueeze(3 + 2 * d).pad(3 + 2 * d, residue, s - 1 - residue)
        spread_views.append(view)
    full = [n, channels, *(size for pair in zip(quotients, stride, strict=True) for size in pair)]
    if not spread_views:
        return ctx.full(DType.F32, 0.0, [n, channels, *(q * s for q, s in zip(quotients, stride, strict=True))])
    # Each place is open in one view only and the others yield the zero word there.
    merged = ctx.map(DType.F32, lambda b, *words: reduce(b.or_, words), *(view.expand(full) for view in spread_views))
    return merged.reshape([n, channels, *(q * s for q, s in zip(quotients, stride, strict=True))])


def spatial_windows(
    x: TensorView, kernel: Sizes, stride: Sizes, padding: Sequence[tuple[int, int]], dilation: Sizes, fill: int = 0
) -> TensorView:
    """Windows over all spatial dimensions. Shapes: (N, C, *in) -> (N, C, *out, *kernel)."""
    for d, (before, after) in enumerate(padding):
        x = x.pad(2 + d, before, after, fill)
    for d, size in enumerate(kernel):
        x = x.windows(2 + d, size, stride[d], dilation[d])
    return x


def with_zeros_between(x: TensorView, dim: int, step: int) -> TensorView:
    """step - 1 zeros between the elements of a dimension: n -> (n - 1) * step + 1."""
    extent = x.shape[dim]
    grown = x.unsqueeze(dim + 1).pad(dim + 1, 0, step - 1)
    shape = [*x.shape[:dim], extent * step, *x.shape[dim + 1 :]]
    return grown.reshape(shape).slice(dim, 0, (extent - 1) * step + 1)


def framed(x: TensorView, skip: Sizes, extents: Sizes) -> TensorView:
    """The spatial part that starts at ``skip`` and has these extents; zero where x has none."""
    for d, (start, extent) in enumerate(zip(skip, extents, strict=True)):
        x = x.pad(2 + d, -start, start + extent - x.shape[2 + d])
    return x


def fitted(x: TensorView, shape: Sizes) -> TensorView:
    """The leading part of every dimension."""
    for d, extent in enumerate(shape):
        x = x.slice(d, 0, extent)
    return x


def all_axes(sizes: Sizes, count: int) -> list[int]:
    """One number per spatial dimension; one given number is for all."""
    return list(sizes) * (count if len(sizes) == 1 else 1)


def require_floats(ctx: Lowering, *views: TensorView) -> None:
    if any(view.dtype is not DType.F32 for view in views):
        raise CaptureError(f"{ctx.line}: this operator is in float32; convert with .float()")
