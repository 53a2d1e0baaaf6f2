"""Pools written out: adaptive windows as masks, pools of volumes as one of planes and one of what is left.

Shapes: x (..., *in) with two or three spatial dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten
Sizes = Sequence[int]


# ADAPTIVE WINDOWS
def adaptive_avg_pool2d(x: Tensor, size: Sizes) -> Tensor:
    """Windows of equal size where that divides; else a masked mean along one axis after the other."""
    if all(x.shape[d - 2] % n == 0 for d, n in enumerate(size)):
        window = [x.shape[-2] // size[0], x.shape[-1] // size[1]]
        return aten.avg_pool2d.default(x, window, window)
    return adaptive_means(x, size)


def adaptive_means(x: Tensor, size: Sizes) -> Tensor:
    for d, windows in enumerate(size):
        axis = d - len(size)
        inside, length = adaptive_windows(x.shape[axis], windows)
        # (..., 1, n) against (size, n), the pooled axis last.
        moved = x.transpose(axis, -1).unsqueeze(-2)
        x = (torch.where(inside, moved, 0.0).sum(-1) / length).transpose(axis, -1)
    return x


def adaptive_avg_pool2d_backward(grad: Tensor, x: Tensor) -> Tensor:
    """Every element takes its share from the windows it lies in."""
    if all(x.shape[-d] % grad.shape[-d] == 0 for d in (1, 2)):
        window = [x.shape[-2] // grad.shape[-2], x.shape[-1] // grad.shape[-1]]
        return aten.avg_pool2d_backward.default(grad, x, window, window, [0, 0], False, True, None)
    return adaptive_shares(grad, x, 2)


def adaptive_shares(grad: Tensor, x: Tensor, spatial: int) -> Tensor:
    for axis in range(-1, -spatial - 1, -1):
        inside, length = adaptive_windows(x.shape[axis], grad.shape[axis])
        shares = (grad.transpose(axis, -1) / length).unsqueeze(-2)
        grad = torch.where(inside.t(), shares, 0.0).sum(-1).transpose(axis, -1)
    return grad


def adaptive_avg_pool3d_backward(grad: Tensor, x: Tensor) -> Tensor:
    return adaptive_shares(grad, x, 3)


def adaptive_max_pool(x: Tensor, size: Sizes) -> tuple[Tensor, Tensor]:
    """The largest element of each window and its number within the spatial dimensions, row-major."""
    number: Tensor | None = None
    stride = 1
    for axis in range(-1, -len(size) - 1, -1):
        inside, _ = adaptive_windows(x.shape[axis], size[axis])
        start = aten.max.dim(inside.to(torch.int32), -1)[1]
        most, at = aten.max.dim(torch.where(inside, x.transpose(axis, -1).unsqueeze(-2), -math.inf), -1)
        at = torch.where(most == -math.inf, start, at)
        if number is None:
            number = at.transpose(axis, -1)
        else:
            number = at.transpose(axis, -1) * stride + number.gather(axis, at.transpose(axis, -1))
        stride *= x.shape[axis]
        x = most.transpose(axis, -1)
    assert number is not None, "a pool has spatial dimensions"
    return x, number


def chosen_backward(grad: Tensor, x: Tensor, number: Tensor, spatial: int) -> Tensor:
    """Gradients added where the numbers of the chosen elements say."""
    outer = x.shape[: x.dim() - spatial]
    flat = torch.zeros([*outer, math.prod(x.shape[x.dim() - spatial :])])
    return flat.scatter_add(-1, number.reshape([*outer, -1]), grad.reshape([*outer, -1])).reshape(x.shape)


def adaptive_max_pool2d_backward(grad: Tensor, x: Tensor, number: Tensor) -> Tensor:
    return chosen_backward(grad, x, number, 2)


def adaptive_max_pool3d_backward(grad: Tensor, x: Tensor, number: Tensor) -> Tensor:
    return chosen_backward(grad, x, number, 3)


def adaptive_windows(extent: int, windows: int) -> tuple[Tensor, Tensor]:
    """Which elements each window holds, (windows, extent) bool, and how many, (windows,) float."""
    window = torch.arange(windows)
    start = (window * extent).div(windows, rounding_mode="floor")
    end = (window * extent + extent + windows - 1).div(windows, rounding_mode="floor")
    place = torch.arange(extent)
    inside = (place >= start.unsqueeze(1)) & (place < end.unsqueeze(1))
    return inside, (end - start).to(torch.float32)


# VOLUMES
def avg_pool3d(
    x: Tensor,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Sums over planes, sums of these over depth, divided by how many elements each window counts."""
    kernel, stride, padding = triples(kernel, stride or kernel, padding)
    outer, (depth, height, width) = x.shape[:-3], x.shape[-3:]
    planes = x.reshape(-1, depth, height, width)
    sums = aten.avg_pool2d.default(planes, kernel[1:], stride[1:], padding[1:], ceil_mode, True, 1)
    out = sums.shape[-2:]
    columns = sums.reshape(-1, 1, depth, math.prod(out))
    sums = aten.avg_pool2d.default(columns, [kernel[0], 1], [stride[0], 1], [padding[0], 0], ceil_mode, True, 1)
    total = sums.reshape([*outer, sums.shape[-2], *out])
    return total / counts(x.shape[-3:], total.shape[-3:], kernel, stride, padding, count_include_pad, divisor_override)


def avg_pool3d_backward(
    grad: Tensor,
    x: Tensor,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    kernel, stride, padding = triples(kernel, stride or kernel, padding)
    depth, height, width = x.shape[-3:]
    out_depth, *out = grad.shape[-3:]
    share = grad / counts(x.shape[-3:], grad.shape[-3:], kernel, stride, padding, count_include_pad, divisor_override)
    columns = share.reshape(-1, 1, out_depth, math.prod(out))
    like = torch.zeros(columns.shape[0], 1, depth, columns.shape[-1])
    columns = aten.avg_pool2d_backward.default(
        columns, like, [kernel[0], 1], [stride[0], 1], [padding[0], 0], ceil_mode, True, 1
    )
    planes = columns.reshape(-1, depth, *out)
    like = x.reshape(-1, depth, height, width)
    planes = aten.avg_pool2d_backward.default(planes, like, kernel[1:], stride[1:], padding[1:], ceil_mode, True, 1)
    return planes.reshape(x.shape)


def counts(
    extents: Sizes, out: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, with_padding: bool, divisor: int | None
) -> Tensor:
    """How many elements every window counts. Shape (*out,)."""
    if divisor is not None:
        return torch.full([1] * len(out), float(divisor))
    product = torch.ones([1] * len(out))
    for d, (n, o, k, s, p) in enumerate(zip(extents, out, kernel, stride, padding, strict=True)):
        margin = p if with_padding else 0
        lengths = [min(i * s - p + k, n + margin) - max(i * s - p, -margin) for i in range(o)]
        product = product * torch.tensor(lengths, dtype=torch.float32).view([-1 if a == d else 1 for a in range(3)])
    return product


def max_pool3d(
    x: Tensor,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = (0,),
    dilation: Sizes = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """The largest of every plane's window, then the largest of these over depth: the first of equals, as in one go."""
    kernel, stride, padding, dilation = triples(kernel, stride or kernel, padding, dilation)
    outer, (depth, height, width) = x.shape[:-3], x.shape[-3:]
    planes = x.reshape(-1, depth, height, width)
    most, number = aten.max_pool2d_with_indices.default(
        planes, kernel[1:], stride[1:], padding[1:], dilation[1:], ceil_mode
    )
    out = most.shape[-2:]
    places = math.prod(out)
    columns = most.reshape(-1, 1, depth, places)
    most, at = aten.max_pool2d_with_indices.default(
        columns, [kernel[0], 1], [stride[0], 1], [padding[0], 0], [dilation[0], 1], ceil_mode
    )
    chosen = at.div(places, rounding_mode="floor")
    number = chosen * (height * width) + number.reshape(-1, 1, depth, places).gather(2, chosen)
    shape = [*outer, most.shape[-2], *out]
    return most.reshape(shape), number.reshape(shape)


def max_pool3d_backward(
    grad: Tensor,
    x: Tensor,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    number: Tensor,
) -> Tensor:
    return chosen_backward(grad, x, number, 3)


def triples(*sizes: Sizes) -> list[list[int]]:
    """One number per spatial dimension; one given number is for all."""
    return [list(size) * (3 if len(size) == 1 else 1) for size in sizes]


POOLS: dict[OpOverload, Callable] = {
    aten._adaptive_avg_pool2d.default: adaptive_avg_pool2d,
    aten._adaptive_avg_pool2d_backward.default: adaptive_avg_pool2d_backward,
    aten._adaptive_avg_pool3d.default: adaptive_means,
    aten._adaptive_avg_pool3d_backward.default: adaptive_avg_pool3d_backward,
    aten.adaptive_max_pool2d.default: adaptive_max_pool,
    aten.adaptive_max_pool2d_backward.default: adaptive_max_pool2d_backward,
    aten.adaptive_max_pool3d.default: adaptive_max_pool,
    aten.adaptive_max_pool3d_backward.default: adaptive_max_pool3d_backward,
    aten.avg_pool3d.default: avg_pool3d,
    aten.avg_pool3d_backward.default: avg_pool3d_backward,
    aten.max_pool3d_with_indices.default: max_pool3d,
    aten.max_pool3d_with_indices_backward.default: max_pool3d_backward,
}
