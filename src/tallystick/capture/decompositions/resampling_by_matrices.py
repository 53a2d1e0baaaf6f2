"""Resampling as one product per axis with a matrix of weights, and backwards with the transposed matrix.

Shapes: x (N, C, *in), y (N, C, *out), a matrix (out, in). Weights are computed while capturing, places in binary32 as
PyTorch does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.capture.decompositions.resampling import linear_weights

aten = torch.ops.aten
Sizes = Sequence[int]
Weights = Callable[[int, int, bool, float | None], Tensor]

CUBIC, CUBIC_SMOOTHED = -0.75, -0.5  # PyTorch's slopes of the cubic kernel, without and with antialiasing


# FORWARDS AND BACKWARDS
def forwards(weights: Weights, spatial: int) -> Callable[..., Tensor]:
    def resample(x: Tensor, size: Sizes, align_corners: bool, *scales: float | None) -> Tensor:
        for d, matrix in enumerate(matrices(weights, spatial, x.shape[2:], size, align_corners, scales)):
            x = along(x, 2 + d, matrix.t())
        return x

    return resample


def backwards(weights: Weights, spatial: int) -> Callable[..., Tensor]:
    def resample(grad: Tensor, size: Sizes, input_size: Sizes, align_corners: bool, *scales: float | None) -> Tensor:
        for d, matrix in enumerate(matrices(weights, spatial, input_size[2:], size, align_corners, scales)):
            grad = along(grad, 2 + d, matrix)
        return grad

    return resample


def nearest_backwards(exact: bool, spatial: int) -> Callable[..., Tensor]:
    weights: Weights = lambda old, new, _, scale: nearest_weights(old, new, exact, scale)  # noqa: E731
    take = backwards(weights, spatial)

    def resample(grad: Tensor, size: Sizes, input_size: Sizes, *scales: float | None) -> Tensor:
        return take(grad, size, input_size, False, *scales)

    return resample


def matrices(
    weights: Weights, spatial: int, old: Sizes, new: Sizes, align_corners: bool, scales: Sequence[float | None]
) -> list[Tensor]:
    scales = [*scales, *[None] * (spatial - len(scales))]
    return [weights(n, o, align_corners, scale) for n, o, scale in zip(old, new, scales, strict=True)]


def along(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """The product of one axis with a matrix of shape (old, new)."""
    return (x.transpose(axis, -1) @ matrix).transpose(axis, -1)


# WEIGHTS
def nearest_weights(old: int, new: int, exact: bool, scale: float | None) -> Tensor:
    """1 where a new place shows an old one; ``exact`` looks from the new place's centre."""
    step = np.float32(1.0 / scale if scale else old / new)
    weights = torch.zeros(new, old)
    shift = np.float32(0.5 if exact else 0.0)
    shown = [min(int((np.float32(place) + shift) * step), old - 1) for place in range(new)]
    return matrix_of(new, old, [(place, at, 1.0) for place, at in enumerate(shown)]) if new else weights


def cubic_weights(old: int, new: int, align_corners: bool, scale: float | None) -> Tensor:
    """Four neighbours each; those beyond the edge count as the one at the edge."""
    step = np.float32((old - 1) / max(1, new - 1) if align_corners else 1.0 / scale if scale else old / new)
    entries = []
    for place in range(new):
        half = np.float32(0.5)
        at = np.float32(place) * step if align_corners else (np.float32(place) + half) * step - half
        first = math.floor(at)
        share = float(at) - first
        for tap in range(-1, 3):
            entries.append((place, min(max(first + tap, 0), old - 1), cubic(tap - share, CUBIC)))
    return matrix_of(new, old, entries)


def smoothed_weights(kernel: Callable[[float], float], reach: float) -> Weights:
    """Antialiased weights: the kernel is as wide as the step between new places, and its weights sum to 1."""

    def weights(old: int, new: int, align_corners: bool, scale: float | None) -> Tensor:
        step = (old - 1) / max(1, new - 1) if align_corners else 1.0 / scale if scale else old / new
        width = max(step, 1.0)
        entries = []
        for place in range(new):
            centre = step * (place + 0.5)
            first = max(int(centre - reach * width + 0.5), 0)
            last = min(int(centre + reach * width + 0.5), old)
            parts = [kernel((at - centre + 0.5) / width) for at in range(first, last)]
            entries += [(place, first + i, part / sum(parts)) for i, part in enumerate(parts)]
        return matrix_of(new, old, entries)

    return weights


def cubic(distance: float, slope: float) -> float:
    """The cubic convolution kernel (Keys 1981)."""
    x = abs(distance)
    if x <= 1:
        return ((slope + 2) * x - (slope + 3)) * x * x + 1
    return ((x - 5) * x + 8) * x * slope - 4 * slope if x < 2 else 0.0


def triangle(distance: float) -> float:
    return max(0.0, 1.0 - abs(distance))


def smooth_cubic(distance: float) -> float:
    return cubic(distance, CUBIC_SMOOTHED)


def matrix_of(new: int, old: int, entries: Sequence[tuple[int, int, float]]) -> Tensor:
    weights = np.zeros((new, old), np.float64)
    for place, at, share in entries:
        weights[place, at] += share
    return torch.tensor(weights.astype(np.float32).tolist())


smooth_triangle_weights = smoothed_weights(triangle, 1.0)
smooth_cubic_weights = smoothed_weights(smooth_cubic, 2.0)

RESAMPLING: dict[OpOverload, Callable] = {
    aten._upsample_bicubic2d_aa.default: forwards(smooth_cubic_weights, 2),
    aten._upsample_bicubic2d_aa_backward.default: backwards(smooth_cubic_weights, 2),
    aten._upsample_bilinear2d_aa.default: forwards(smooth_triangle_weights, 2),
    aten._upsample_bilinear2d_aa_backward.default: backwards(smooth_triangle_weights, 2),
    aten._upsample_nearest_exact1d_backward.default: nearest_backwards(True, 1),
    aten._upsample_nearest_exact2d_backward.default: nearest_backwards(True, 2),
    aten._upsample_nearest_exact3d_backward.default: nearest_backwards(True, 3),
    aten.upsample_bicubic2d.default: forwards(cubic_weights, 2),
    aten.upsample_bicubic2d_backward.default: backwards(cubic_weights, 2),
    aten.upsample_linear1d.default: forwards(linear_weights, 1),
    aten.upsample_linear1d_backward.default: backwards(linear_weights, 1),
    aten.upsample_nearest1d_backward.default: nearest_backwards(False, 1),
    aten.upsample_nearest3d_backward.default: nearest_backwards(False, 3),
    aten.upsample_trilinear3d.default: forwards(linear_weights, 3),
    aten.upsample_trilinear3d_backward.default: backwards(linear_weights, 3),
}
