"""Sampling images and volumes at the places of a grid: of volumes, and the gradients of both.

Along every axis a place has taps: elements that it reads, each with a weight, and that weight's slope by the
coordinate. What is read is the sum over one tap of each axis, weighted by the product. Images forwards are written out
by PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten

LINEAR, NEAREST, CUBIC = 0, 1, 2  # of the ``interpolation_mode`` argument
ZEROS, BORDER, REFLECTION = 0, 1, 2  # of the ``padding_mode`` argument
CUBIC_A = -0.75  # Keys's parameter, as PyTorch has it


class Tap(NamedTuple):
    """One element along an axis, for every place of the grid: where it is, its weight, and the weight's slope."""

    index: Tensor
    inside: Tensor
    weight: Tensor
    slope: Tensor


def grid_sampler_3d(x: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
    """Shapes: x (N, C, *S), grid (N, *P, len(S)) -> (N, C, *P). The grid's last coordinate is of the first axis."""
    axes = all_taps(x, grid, interpolation_mode, padding_mode, align_corners)
    total = torch.zeros(())
    for taps in product(*axes):
        total = total + read(x, taps) * weight_of(taps)
    return total.reshape(*x.shape[:2], *grid.shape[1:-1])


def grid_sampler_backward(
    grad: Tensor,
    x: Tensor,
    grid: Tensor,
    interpolation_mode: int,
    padding_mode: int,
    align_corners: bool,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor]:
    """By the image and by the grid. Shapes: as ``grid_sampler_3d``."""
    axes = all_taps(x, grid, interpolation_mode, padding_mode, align_corners)
    incoming = grad.reshape(*x.shape[:2], -1)
    by_x = torch.zeros(x.shape[0], x.shape[1], prod(x.shape[2:]))
    slopes = [torch.zeros(x.shape[0], incoming.shape[2]) for _ in axes]
    for taps in product(*axes):
        if output_mask[0]:
            by_x = by_x.scatter_add(2, place_of(x, taps).expand(incoming.shape), incoming * weight_of(taps))
        share = (incoming * read(x, taps)).sum(1)
        for axis in range(len(axes)):
            sloped = [tap._replace(weight=tap.slope) if i == axis else tap for i, tap in enumerate(taps)]
            slopes[axis] = slopes[axis] + share * weight_of(sloped).squeeze(1)
    by_grid = torch.stack(slopes[::-1], -1).reshape(grid.shape)
    return (by_x.reshape(x.shape) if output_mask[0] else None), by_grid


def read(x: Tensor, taps: Sequence[Tap]) -> Tensor:
    """The element at a tap of each axis, 0 outside. Shapes: (N, C, places)."""
    index = place_of(x, taps)
    return x.reshape(*x.shape[:2], -1).gather(2, index.expand(-1, x.shape[1], -1))


def place_of(x: Tensor, taps: Sequence[Tap]) -> Tensor:
    """The row-major number of an element, of the nearest one where it lies outside. Shapes: (N, 1, places)."""
    place = torch.zeros((), dtype=torch.int64)
    for extent, tap in zip(x.shape[2:], taps, strict=True):
        place = place * extent + tap.index
    return place.unsqueeze(1)


def weight_of(taps: Sequence[Tap]) -> Tensor:
    """The product of weights, 0 outside. Shapes: (N, 1, places)."""
    weight, inside = taps[0].weight, taps[0].inside
    for tap in taps[1:]:
        weight, inside = weight * tap.weight, inside & tap.inside
    return torch.where(inside, weight, 0.0).unsqueeze(1)


# TAPS
def all_taps(x: Tensor, grid: Tensor, mode: int, padding: int, align: bool) -> list[list[Tap]]:
    """The taps of each axis of x."""
    places = grid.reshape(grid.shape[0], -1, grid.shape[-1])
    return [axis_taps(places[..., -1 - axis], extent, mode, padding, align) for axis, extent in enumerate(x.shape[2:])]


def axis_taps(coordinate: Tensor, extent: int, mode: int, padding: int, align: bool) -> list[Tap]:
    """Of one axis with so many elements; coordinates run from -1 to 1."""
    if align:
        place, scale = (coordinate + 1.0) / 2.0 * (extent - 1), (extent - 1) / 2.0
    else:
        place, scale = ((coordinate + 1.0) * extent - 1.0) / 2.0, extent / 2.0
    if mode == CUBIC:
        first = place.floor()
        return [
            tap_at(padded(first + step, extent, padding, align)[0], extent, weight, slope * scale)
            for step, (weight, slope) in zip((-1, 0, 1, 2), cubic(place - first), strict=True)
        ]
    place, direction = padded(place, extent, padding, align)
    if mode == NEAREST:
        return [tap_at(place.round(), extent, torch.ones_like(place), torch.zeros_like(place))]
    first, direction = place.floor(), direction * scale
    share = place - first
    return [tap_at(first, extent, 1.0 - share, -direction), tap_at(first + 1.0, extent, share, direction)]


def tap_at(place: Tensor, extent: int, weight: Tensor, slope: Tensor) -> Tap:
    inside = (place >= 0) & (place <= extent - 1)
    return Tap(place.clamp(0, extent - 1).long(), inside, weight, slope)


def cubic(share: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Weights and slopes of four neighbours, for how far a place lies behind the second."""
    pairs = []
    for step, sign in ((1, 1.0), (0, 1.0), (-1, -1.0), (-2, -1.0)):
        d = sign * (share + step)  # the distance, which grows with the share or shrinks
        if step in (0, -1):
            weight = ((CUBIC_A + 2) * d - (CUBIC_A + 3)) * d * d + 1
            slope = (3 * (CUBIC_A + 2) * d - 2 * (CUBIC_A + 3)) * d
        else:
            weight = ((CUBIC_A * d - 5 * CUBIC_A) * d + 8 * CUBIC_A) * d - 4 * CUBIC_A
            slope = (3 * CUBIC_A * d - 10 * CUBIC_A) * d + 8 * CUBIC_A
        pairs.append((weight, slope * sign))
    return pairs


def padded(place: Tensor, extent: int, padding: int, align: bool) -> tuple[Tensor, Tensor]:
    """A place brought inside, and its slope by the place that was asked for: 1, -1 or 0."""
    direction = torch.ones_like(place)
    if padding == ZEROS:
        return place, direction
    if padding == REFLECTION:
        low, span = (0.0, float(extent - 1)) if align else (-0.5, float(extent))
        if span == 0.0:
            return torch.zeros_like(place), torch.zeros_like(place)
        direction = torch.where(place < low, -1.0, direction)
        distance = (place - low).abs()
        rest, turns = torch.fmod(distance, span), (distance / span).floor()
        turned = torch.fmod(turns, 2.0) != 0
        place = torch.where(turned, span - rest, rest) + low
        direction = torch.where(turned, -direction, direction)
    stays = (place > 0) & (place < extent - 1)
    return place.clamp(0, extent - 1), torch.where(stays, direction, 0.0)


GRID_SAMPLING: dict[OpOverload, Callable] = {
    aten.grid_sampler_2d_backward.default: grid_sampler_backward,
    aten.grid_sampler_3d.default: grid_sampler_3d,
    aten.grid_sampler_3d_backward.default: grid_sampler_backward,
}
