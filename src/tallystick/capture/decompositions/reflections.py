"""Householder's reflections: orthogonal matrices made of them, and the factorisation A = Q R.

k reflections at once are Q = I - V T V^T, where the columns of V are their vectors and T is the inverse of a triangle:
products of matrices and one triangular system. Source: Joffrain et al., "Accumulating Householder transformations,
revisited", ACM TOMS 32 (2006).

Shapes: A (..., m, n) with the vectors below its diagonal, as LAPACK stores them; tau (..., k).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.capture.decompositions.normal_forms import padded
from tallystick.capture.decompositions.triangular import require_columns, solve_triangular

aten = torch.ops.aten


def reflected(a: Tensor, tau: Tensor, x: Tensor, transpose: bool = False) -> Tensor:
    """Q X or Q^T X, Q (m, m) being the product of the reflections. Shapes: X (..., m, p) -> (..., m, p)."""
    count = tau.shape[-1]
    place = torch.arange(count)
    row = torch.arange(a.shape[-2]).unsqueeze(1)
    vectors = torch.where(row > place, a[..., :, :count], (row == place).to(a.dtype))
    within = torch.where(place.unsqueeze(1) < place, vectors.mT @ vectors, 0.0)
    # T = (1 / tau + strict upper triangle of V^T V)^-1, without dividing by a tau of 0.
    scale = tau.unsqueeze(-1)
    triangle = scale * within
    share = vectors.mT @ x
    if transpose:
        share = scale * solve_triangular(triangle.mT, share, upper=False, unitriangular=True)
    else:
        share = solve_triangular(triangle, scale * share, upper=True, unitriangular=True)
    return x - vectors @ share


def householder_product(a: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of Q."""
    row, place = torch.arange(a.shape[-2]).unsqueeze(1), torch.arange(a.shape[-1])
    return reflected(a, tau, (row == place).to(a.dtype).expand(a.shape))


def ormqr(a: Tensor, tau: Tensor, x: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q X, Q^T X, X Q or X Q^T."""
    return reflected(a, tau, x, transpose) if left else reflected(a, tau, x.mT, not transpose).mT


def geqrf(a: Tensor) -> tuple[Tensor, Tensor]:
    """R on and above the diagonal, the reflections' vectors below it, and their factors tau."""
    rows, columns = a.shape[-2:]
    steps = min(rows, columns)
    require_columns(steps, "the factorisation in Q and R", 4)
    row, place = torch.arange(rows).unsqueeze(1), torch.arange(columns)
    factors: list[Tensor] = []
    for k in range(steps):
        first, below = a[..., k : k + 1, k : k + 1], torch.where(row > k, a[..., :, k : k + 1], 0.0)
        squares = (below * below).sum(-2, True)
        nothing = squares == 0  # then the column stays as it is
        length = torch.where(first > 0, -1.0, 1.0) * (first * first + squares).sqrt()
        tau = torch.where(nothing, 0.0, (length - first) / length)
        vector = torch.where(row == k, 1.0, torch.where(nothing, 0.0, below / (first - length)))
        turned = a - tau * vector * (vector * a).sum(-2, True)
        found = torch.where(row > k, vector, torch.where((row == k) & ~nothing, length, a))
        a = torch.where(place > k, torch.where(row >= k, turned, a), torch.where(place == k, found, a))
        factors.append(tau.squeeze(-1))
    return a, torch.cat(factors, -1)


def qr(a: Tensor, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """Shapes: (..., m, n) -> Q (..., m, k), R (..., k, n), k = min(m, n); mode "complete": k = m; "r": no Q."""
    rows, columns = a.shape[-2:]
    stored, tau = geqrf(a)
    upper = torch.where(torch.arange(columns) >= torch.arange(rows).unsqueeze(1), stored, 0.0)
    steps = rows if mode == "complete" else min(rows, columns)
    if mode == "r":
        return torch.zeros(0), upper[..., :steps, :]
    width = max(0, steps - columns)
    return householder_product(padded(stored, a.dim() - 1, 0, width)[..., :, :steps], tau), upper[..., :steps, :]


REFLECTIONS: dict[OpOverload, Callable] = {
    aten.geqrf.default: geqrf,
    aten.linalg_householder_product.default: householder_product,
    aten.linalg_qr.default: qr,
    aten.ormqr.default: ormqr,
}
