"""Loop axes grouped into dimensions, and how they split so that other dimensions can be made of them."""

from __future__ import annotations

from collections.abc import Sequence

Axes = tuple[int, ...]
"""Extents of the loop axes one dimension is made of; none is 1, and a dimension of size 1 has none."""


def split_axes(axes: Axes, shape: Sequence[int]) -> tuple[list[Axes], tuple[Axes, ...]] | None:
    """How each axis splits into parts, and how the parts group into dimensions of this shape; None if they interleave.

    (6, 4) as (3, 8): the parts are (3, 2), (4,), the dimensions (3,), (2, 4).
    """
    if 0 in shape:
        return None if 0 not in axes else _split_empty(axes, shape)
    parts: list[list[int]] = [[] for _ in axes]
    dims: list[Axes] = []
    at, left = 0, axes[0] if axes else 1
    for extent in shape:
        dim: list[int] = []
        while extent > 1:
            if left == 1:
                at += 1
                left = axes[at]
            if extent % left == 0:
                part = left
            elif left % extent == 0:
                part = extent
            else:
                return None
            parts[at].append(part)
            dim.append(part)
            extent //= part
            left //= part
        dims.append(tuple(dim))
    return [tuple(part) for part in parts], tuple(dims)


def _split_empty(axes: Axes, shape: Sequence[int]) -> tuple[list[Axes], tuple[Axes, ...]] | None:
    """Tensors without elements keep their axes only if the shape is the same."""
    dims = tuple((extent,) if extent != 1 else () for extent in shape)
    same = tuple(e for dim in dims for e in dim) == axes
    return ([(extent,) for extent in axes], dims) if same else None
