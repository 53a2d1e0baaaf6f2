"""The exponential of a matrix by products alone: a Taylor polynomial of A / 2^s, squared s times.

Every matrix has its own s. The program holds ``SQUARINGS`` squarings and takes as many as a matrix needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten

DEGREE = 12
# The largest 1-norm for which what the polynomial leaves out is below a float32's rounding.
# Source: Blanes, Bader, Casas, "Computing the matrix exponential with an optimized Taylor polynomial" (2019), table 1.
LARGEST = 1.461661507209034
SQUARINGS = 8


def matrix_exp(a: Tensor) -> Tensor:
    """Shapes: (..., n, n) -> (..., n, n). A matrix with a norm above LARGEST * 2^SQUARINGS (374) is answered by NaN."""
    n = a.shape[-1]
    norm = aten.amax.default(a.abs().sum(-2, True), [-1], True)
    halved = [norm > LARGEST * 2**i for i in range(SQUARINGS)]
    scale = torch.ones(norm.shape)
    for flag in halved:
        scale = torch.where(flag, scale * 0.5, scale)
    found = polynomial(a * scale, torch.eye(n))
    for flag in halved:
        found = torch.where(flag, found @ found, found)
    return torch.where(norm > LARGEST * 2**SQUARINGS, math.nan, found)


def polynomial(x: Tensor, one: Tensor) -> Tensor:
    """The Taylor polynomial of degree 12 in four more products: cubic polynomials, nested in the cube."""
    square = x @ x
    cube = square @ x
    share = [1.0 / math.factorial(i) for i in range(DEGREE + 1)]

    def cubic(i: int) -> Tensor:
        return share[i] * one + share[i + 1] * x + share[i + 2] * square

    found = cubic(9) + share[12] * cube
    for i in (6, 3, 0):
        found = cubic(i) + found @ cube
    return found


MATRIX_EXPONENTIAL: dict[OpOverload, Callable] = {aten.linalg_matrix_exp.default: matrix_exp}
