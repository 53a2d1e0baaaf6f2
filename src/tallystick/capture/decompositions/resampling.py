"""Up- and downsampling of planes, written out: gathers forwards, sums backwards.

Shapes: x (N, C, H, W), y (N, C, OH, OW). Places are computed while capturing, in binary32 as PyTorch does. What takes
several elements along each axis is a product with a matrix of weights per axis: ``resampling_by_matrices.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

aten = torch.ops.aten
Sizes = Sequence[int]


def upsample_nearest2d(
    x: Tensor, size: Sizes, scale_vertical: float | None = None, scale_horizontal: float | None = None
) -> Tensor:
    for d, (extent, scale) in enumerate(zip(size, (scale_vertical, scale_horizontal), strict=True)):
        axis, old = 2 + d, x.shape[2 + d]
        if extent % old == 0 and scale in (None, extent / old):
            shape = [*x.shape[:axis], extent, *x.shape[axis + 1 :]]
            grown = x.unsqueeze(axis + 1)
            x = grown.expand([*x.shape[: axis + 1], extent // old, *x.shape[axis + 1 :]]).reshape(shape)
        else:
            x = x.index_select(axis, torch.tensor(nearest_places(old, extent, scale)))
    return x


def upsample_nearest2d_backward(
    grad: Tensor,
    size: Sizes,
    input_size: Sizes,
    scale_vertical: float | None = None,
    scale_horizontal: float | None = None,
) -> Tensor:
    """Every element takes the sum over the places it went to."""
    for d, scale in enumerate((scale_vertical, scale_horizontal)):
        axis, extent, old = 2 + d, grad.shape[2 + d], input_size[2 + d]
        shape = [*grad.shape[:axis], old, *grad.shape[axis + 1 :]]
        if extent % old == 0 and scale in (None, extent / old):
            grad = grad.reshape([*grad.shape[:axis], old, extent // old, *grad.shape[axis + 1 :]]).sum(axis + 1)
        else:
            places = torch.tensor(nearest_places(old, extent, scale))
            grad = torch.zeros(shape).index_add(axis, places, grad)
    return grad


def nearest_places(old: int, new: int, scale: float | None) -> list[int]:
    """Which old place each new one shows."""
    step = np.float32(1.0 / scale if scale else old / new)
    return [min(int(np.float32(place) * step), old - 1) for place in range(new)]


def upsample_bilinear2d_backward(
    grad: Tensor,
    size: Sizes,
    input_size: Sizes,
    align_corners: bool,
    scale_vertical: float | None = None,
    scale_horizontal: float | None = None,
) -> Tensor:
    """One product with a matrix of weights per axis."""
    horizontal = linear_weights(input_size[3], grad.shape[3], align_corners, scale_horizontal)
    vertical = linear_weights(input_size[2], grad.shape[2], align_corners, scale_vertical)
    return vertical.t() @ (grad @ horizontal)


def linear_weights(old: int, new: int, align_corners: bool, scale: float | None) -> Tensor:
    """How much of each old place a new one takes. Shape (new, old)."""
    weights = np.zeros((new, old), np.float32)
    step = np.float32((old - 1) / max(1, new - 1) if align_corners else 1.0 / scale if scale else old / new)
    for place in range(new):
        at = np.float32(place) * step
        if not align_corners:
            at = max(np.float32(0.0), (np.float32(place) + np.float32(0.5)) * step - np.float32(0.5))
        lower = min(int(at), old - 1)
        share = np.float32(at - np.float32(lower))
        weights[place, lower] += np.float32(1.0) - share
        weights[place, min(lower + 1, old - 1)] += share
    return torch.tensor(weights.tolist())
