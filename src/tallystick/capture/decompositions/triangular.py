"""Triangular systems and Cholesky's factorisation, for matrices of a fixed size.

A column is eliminated in one step over the whole matrix, ``BLOCK`` columns at a time; the rest is products of blocks.
So the number of kernels grows with the columns, not with the elements, and errors are those of substitution but for
the blocks on the diagonal, which are inverted.

Shapes: L (..., n, n), B (..., n, m) -> (..., n, m); leading dimensions are batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.capture.decompositions.normal_forms import padded
from tallystick.capture.tracing.provenance import here
from tallystick.errors import CaptureError

aten = torch.ops.aten

BLOCK = 16  # columns that are eliminated one by one before the products of blocks
COLUMNS = 128  # that are eliminated one by one at most


def require_columns(columns: int, what: str, kernels: int) -> None:
    """Refuse what would be written out for too long. ``kernels`` is how many a column takes, about."""
    if columns > COLUMNS:
        raise CaptureError(
            f"{what} of {columns} columns cannot be captured{here()}: a column is eliminated after the other, "
            f"{kernels} kernels for each, and at most {COLUMNS} are written out; take smaller blocks, or an iteration "
            "with products of matrices, such as Newton's or conjugate gradients"
        )


# SYSTEMS
def solve_lower(lower: Tensor, b: Tensor, unit: bool = False) -> Tensor:
    """X with L X = B; what stands above the diagonal is not read. ``unit``: the diagonal counts as ones."""
    n = lower.shape[-1]
    batch = torch.broadcast_shapes(lower.shape[:-2], b.shape[:-2])
    lower, b = lower.expand(*batch, n, n), b.expand(*batch, *b.shape[-2:])
    if n <= BLOCK:
        return substituted(lower, b, unit)
    blocks = -(-n // BLOCK)
    # Filled up with ones on the diagonal, which solve for zeros.
    lower, rest = grown(lower, blocks * BLOCK), padded(b, b.dim() - 2, 0, blocks * BLOCK - n)
    inverses = inverted_blocks(lower, blocks, unit)
    parts: list[Tensor] = []
    for i in range(blocks):
        part = inverses[..., i, :, :] @ rest[..., :BLOCK, :]
        parts.append(part)
        below = lower[..., (i + 1) * BLOCK :, i * BLOCK : (i + 1) * BLOCK]
        rest = rest[..., BLOCK:, :] - below @ part if i < blocks - 1 else rest
    return torch.cat(parts, -2)[..., :n, :]


def substituted(lower: Tensor, b: Tensor, unit: bool = False) -> Tensor:
    """The same, a row of X after the other."""
    row = torch.arange(lower.shape[-1]).unsqueeze(1)
    for k in range(lower.shape[-1]):
        found = b[..., k : k + 1, :]
        if not unit:
            found = found / lower[..., k : k + 1, k : k + 1]
        rest = torch.where(row > k, b - lower[..., :, k : k + 1] * found, b)
        b = rest if unit else torch.where(row == k, found, rest)
    return b


def inverted_blocks(lower: Tensor, blocks: int, unit: bool) -> Tensor:
    """The inverses of the blocks on the diagonal. Shapes: (..., k * BLOCK, k * BLOCK) -> (..., k, BLOCK, BLOCK)."""
    split = lower.unflatten(-1, (blocks, BLOCK)).unflatten(-3, (blocks, BLOCK))
    diagonal = split.diagonal(0, -4, -2).movedim(-1, -3)
    return substituted(diagonal, torch.eye(BLOCK).expand(diagonal.shape), unit)


def grown(x: Tensor, size: int) -> Tensor:
    """The matrix in the upper left corner of a larger one that has ones on the rest of its diagonal."""
    n = x.shape[-1]
    if n == size:
        return x
    place = torch.arange(size)
    added = (place == place.unsqueeze(1)) & (place >= n)
    return torch.where(added, 1.0, padded(padded(x, x.dim() - 1, 0, size - n), x.dim() - 2, 0, size - n))


def solve_triangular(a: Tensor, b: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B, or X A = B. All four cases are lower triangles: of the transpose, or seen from the end."""
    if not left:
        return solve_triangular(a.mT, b.mT, upper=not upper, unitriangular=unitriangular).mT
    if upper:
        return solve_lower(a.flip(-2, -1), b.flip(-2), unitriangular).flip(-2)
    return solve_lower(a, b, unitriangular)


def triangular_solve(
    b: Tensor, a: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> tuple[Tensor, Tensor]:
    """The older spelling, which also returns A."""
    given = a.mT if transpose else a
    return solve_triangular(given, b, upper=upper != transpose, unitriangular=unitriangular), a.clone()


# CHOLESKY
def cholesky_ex(a: Tensor, *, upper: bool = False, check_errors: bool = False) -> tuple[Tensor, Tensor]:
    """L with L L^T = A, reading only A's lower triangle, and where it fails: the first such column from 1 on, or 0.

    A factor that does not exist is NaN throughout: PyTorch raises, or leaves one that stands for nothing.
    """
    n = a.shape[-1]
    require_columns(n, "Cholesky's factorisation", 2)
    lower = lower_factor(a.mT if upper else a)
    bad = ~(lower.diagonal(0, -2, -1) > 0)
    failed, first = aten.max.dim(bad.to(torch.int32), -1)
    info = torch.where(failed > 0, first.to(torch.int32) + 1, 0).to(torch.int32)
    lower = torch.where((failed > 0).unsqueeze(-1).unsqueeze(-1), math.nan, lower)
    return (lower.mT if upper else lower), info


def lower_factor(a: Tensor) -> Tensor:
    """Cholesky's factor, block after block: the block on the diagonal, those below it, and what they leave."""
    n = a.shape[-1]
    if n <= BLOCK:
        return small_factor(a)
    columns: list[Tensor] = []
    for start in range(0, n, BLOCK):
        width = min(BLOCK, n - start)
        corner = small_factor(a[..., :width, :width])
        parts = [corner]
        if start + width < n:
            inverse = substituted(corner, torch.eye(width).expand(corner.shape))
            below = a[..., width:, :width] @ inverse.mT
            parts.append(below)
            a = a[..., width:, width:] - below @ below.mT
        column = torch.cat(parts, -2)
        columns.append(padded(column, column.dim() - 2, start, 0))
    return torch.cat(columns, -1)


def small_factor(a: Tensor) -> Tensor:
    place = torch.arange(a.shape[-1])
    row = place.unsqueeze(1)
    for k in range(a.shape[-1]):
        column = a[..., :, k : k + 1] / a[..., k : k + 1, k : k + 1].sqrt()
        rest = torch.where((place > k) & (row > k), a - column * column.mT, a)
        a = torch.where((place == k) & (row >= k), column, rest)
    return torch.where(row >= place, a, 0.0)


def cholesky(a: Tensor, upper: bool = False) -> Tensor:
    return cholesky_ex(a, upper=upper)[0]


def cholesky_solve(b: Tensor, factor: Tensor, upper: bool = False) -> Tensor:
    """X with L L^T X = B."""
    lower = factor.mT if upper else factor
    return solve_triangular(lower.mT, solve_lower(lower, b), upper=True)


def cholesky_inverse(factor: Tensor, upper: bool = False) -> Tensor:
    half = solve_lower(factor.mT if upper else factor, torch.eye(factor.shape[-1]))
    return half.mT @ half


TRIANGULAR: dict[OpOverload, Callable] = {
    aten.cholesky.default: cholesky,
    aten.cholesky_inverse.default: cholesky_inverse,
    aten.cholesky_solve.default: cholesky_solve,
    aten.linalg_cholesky_ex.default: cholesky_ex,
    aten.linalg_solve_triangular.default: solve_triangular,
    aten.triangular_solve.default: triangular_solve,
}
