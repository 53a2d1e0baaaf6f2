"""Systems, inverses and determinants by elimination with pivots, for matrices of a fixed size.

Which row is the pivot depends on the data, and so is an index that the program computes; how many steps there are does
not. A column takes two steps over the whole matrix: where its largest element is, and the exchange and elimination.

Shapes: A (..., n, n), B (..., n, m); pivots (..., n) int32 count rows from 1, as LAPACK's do.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.capture.decompositions.triangular import require_columns, solve_lower, solve_triangular
from tallystick.errors import CaptureError

aten = torch.ops.aten

Factors = tuple[Tensor, Tensor, Tensor]


# FACTORS
def lu_factor_ex(a: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Factors:
    """L and U in one matrix, the pivots, and the first column from 1 on whose pivot is 0, or 0.

    Shapes: (..., m, n) -> (..., m, n), (..., min(m, n)), (...).
    """
    if not pivot:
        raise CaptureError("LU factorisation without pivots is not PyTorch's on a CPU; leave out pivot=False")
    steps = min(a.shape[-2:])
    require_columns(steps, "elimination", 2)
    row, place = torch.arange(a.shape[-2]), torch.arange(a.shape[-1])
    chosen: list[Tensor] = []
    for k in range(steps):
        candidates = torch.where(row >= k, a[..., :, k].abs(), -1.0)
        at = aten.argmax.default(candidates, -1, True)
        a = eliminated(exchanged(a, row, k, at), row.unsqueeze(1), place, k)
        chosen.append(at)
    missing, first = aten.max.dim((a.diagonal(0, -2, -1) == 0).to(torch.int32), -1)
    info = torch.where(missing > 0, first.to(torch.int32) + 1, 0).to(torch.int32)
    return a, torch.cat(chosen, -1).to(torch.int32) + 1, info


def exchanged(x: Tensor, row: Tensor, k: int, at: Tensor) -> Tensor:
    """The matrix with row k and row ``at``, shape (..., 1), exchanged."""
    order = torch.where(row == k, at, torch.where(row == at, k, row))
    return x.gather(-2, order.unsqueeze(-1).expand(x.shape))


def eliminated(a: Tensor, row: Tensor, place: Tensor, k: int) -> Tensor:
    """Column k below the diagonal replaced by the factors with which row k was subtracted from the others.

    A pivot of 0 stands in a column of zeros: its factors are 0, as LAPACK leaves them.
    """
    pivot = a[..., k : k + 1, k : k + 1]
    factor = torch.where(pivot == 0, 0.0, a[..., :, k : k + 1] / pivot)
    rest = torch.where((row > k) & (place > k), a - factor * a[..., k : k + 1, :], a)
    return torch.where((row > k) & (place == k), factor, rest)


def order_of(pivots: Tensor, rows: int) -> Tensor:
    """Where every row came from after all exchanges. Shapes: (..., k) -> (..., rows), int64."""
    row = torch.arange(rows)
    order = row.expand(*pivots.shape[:-1], rows)
    for k in range(pivots.shape[-1]):
        at = pivots[..., k : k + 1].to(torch.int64) - 1
        step = torch.where(row == k, at, torch.where(row == at, k, row))
        order = order.gather(-1, step.expand(order.shape))
    return order


def parity(pivots: Tensor) -> Tensor:
    """1 or -1: whether the number of exchanges is even."""
    moved = (pivots != torch.arange(1, pivots.shape[-1] + 1)).to(torch.int32).sum(-1)
    return (1 - 2 * moved.remainder(2)).to(torch.float32)


def lu_unpack(
    lu: Tensor, pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """P, L and U with A = P L U; what is not asked for is empty."""
    rows, columns = lu.shape[-2:]
    steps = min(rows, columns)
    permutation = lower = upper = torch.zeros(0)
    if unpack_pivots:
        order = order_of(pivots, rows)
        permutation = (order.unsqueeze(-2) == torch.arange(rows).unsqueeze(1)).to(lu.dtype)
    if unpack_data:
        row, place = torch.arange(rows).unsqueeze(1), torch.arange(columns)
        left = lu[..., :, :steps]
        lower = torch.where(row > place[:steps], left, (row == place[:steps]).to(lu.dtype))
        upper = lu[..., :steps, :].triu()
    return permutation, lower, upper


def lu(a: Tensor, *, pivot: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    factors, pivots, _ = lu_factor_ex(a, pivot=pivot)
    return lu_unpack(factors, pivots)


# SYSTEMS
def lu_solve(lu: Tensor, pivots: Tensor, b: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with A X = B, for the factors of A; ``left`` False: X A = B; ``adjoint``: A^T for A."""
    if not left:
        return lu_solve(lu, pivots, b.mT, adjoint=not adjoint).mT
    batch = torch.broadcast_shapes(lu.shape[:-2], b.shape[:-2])
    n = lu.shape[-1]
    order = order_of(pivots, n)
    if adjoint:
        half = solve_lower(lu.mT, b)
        found = solve_triangular(lu.mT, half, upper=True, unitriangular=True)
        # Row order[i] of X is row i of what was found.
        order = aten.argmax.default((order.unsqueeze(-2) == torch.arange(n).unsqueeze(1)).to(torch.int32), -1)
    else:
        found = b
    rows = found.expand(*batch, *b.shape[-2:])
    rows = rows.gather(-2, order.expand(*batch, n).unsqueeze(-1).expand(rows.shape))
    return rows if adjoint else solve_triangular(lu, solve_lower(lu, rows, unit=True), upper=True)


def solve_ex(
    a: Tensor, b: Tensor, *, left: bool = True, check_errors: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """X, and the factors, which the gradient solves with. B may be a vector: shape (..., n).

    Where A is singular, all of X is NaN; PyTorch raises.
    """
    is_vector = b.dim() == 1 or (b.dim() == a.dim() - 1 and b.shape == a.shape[:-1])
    factors, pivots, info = lu_factor_ex(a)
    found = lu_solve(factors, pivots, b.unsqueeze(-1) if is_vector else b, left=left)
    found = where_regular(found, info)
    return (found.squeeze(-1) if is_vector else found), factors, pivots, info


def inv_ex(a: Tensor, *, check_errors: bool = False) -> tuple[Tensor, Tensor]:
    factors, pivots, info = lu_factor_ex(a)
    found = lu_solve(factors, pivots, torch.eye(a.shape[-1]).expand(a.shape))
    return where_regular(found, info), info


def where_regular(x: Tensor, info: Tensor) -> Tensor:
    """x, but NaN throughout for matrices that have no inverse: elimination leaves numbers in some of it."""
    return torch.where((info == 0).unsqueeze(-1).unsqueeze(-1), x, math.nan)


# DETERMINANTS
def det(a: Tensor) -> Factors:
    """As in PyTorch the factors are those of A^T where A is contiguous: the gradient counts on it."""
    factors, pivots, _ = lu_factor_ex(a.mT if a.is_contiguous() else a)
    return aten.prod.dim_int(factors.diagonal(0, -2, -1), -1) * parity(pivots), factors, pivots


def slogdet(a: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    factors, pivots, _ = lu_factor_ex(a.mT if a.is_contiguous() else a)
    diagonal = factors.diagonal(0, -2, -1)
    sign = aten.prod.dim_int(diagonal.sign(), -1) * parity(pivots)
    return sign, diagonal.abs().log().sum(-1), factors, pivots


ELIMINATION: dict[OpOverload, Callable] = {
    aten._linalg_det.default: det,
    aten._linalg_slogdet.default: slogdet,
    aten._linalg_solve_ex.default: solve_ex,
    aten.linalg_inv_ex.default: inv_ex,
    aten.linalg_lu.default: lu,
    aten.linalg_lu_factor_ex.default: lu_factor_ex,
    aten.linalg_lu_solve.default: lu_solve,
    aten.lu_unpack.default: lu_unpack,
}
