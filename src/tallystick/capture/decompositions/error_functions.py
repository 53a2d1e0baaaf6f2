"""The complement of the error function, and the inverse.

exp(x^2) erfc(x) (1 + 2 x) is smooth in (x - 2) / (x + 2) for x of 0 and more (Shepherd and Laframboise, "Chebyshev
approximation of (1 + 2x) exp(x^2) erfc x", 1981).

With w = -log(1 - x^2), erfinv(x) / x is smooth in w near 0 and in sqrt(w) far from it (Giles, "Approximating the erfinv
function", 2010). The polynomials are least squares on Chebyshev nodes, weighted by the value, of degree 8 each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten

BORDER = 5.0  # of w: |x| is 0.9966 there
NEAR_CENTRE, FAR_CENTRE = 2.5, 3.2430339887
# By ascending power of w - NEAR_CENTRE, within 1.0e-7 of the ratio.
NEAR = (
    1.5014094, 0.24664074, -0.0041776788, -0.0012537298, 0.00021857738, -4.3896343e-06, -3.5222365e-06, 3.4307342e-07,
    2.7989556e-08,
)  # fmt: skip
# By ascending power of sqrt(w) - FAR_CENTRE, within 1.5e-7 of the ratio.
FAR = (
    3.0768831, 1.0051805, 0.0054575587, -0.0037802979, 0.0025025497, -0.0018742456, 0.0010847538, -0.00016891313,
    -9.7209384e-05,
)  # fmt: skip
# By ascending power of (x - 2) / (x + 2), within 1.3e-8 of the value.
SCALED = (
    1.2769784, -0.092763759, -0.16603114, 0.16404939, -0.054211672, -0.0080186473, 0.0086883605, 0.0012168245,
    -0.0013947923, -0.00035744027, 0.00016043788, 6.3225954e-05,
)  # fmt: skip
SPLIT = 256.0  # a number of up to 16 in steps of its inverse has a square without rounding


def erfcx(x: Tensor) -> Tensor:
    """exp(x^2) erfc(x)."""
    scaled = scaled_complement(x.abs())
    return torch.where(x < 0, 2.0 / squared_exponential(x) - scaled, scaled)


def erfc(x: Tensor) -> Tensor:
    """1 - erf(x), also where little is left of it."""
    x = x.float()
    upper = scaled_complement(x.abs()) * squared_exponential(x)
    return torch.where(x < 0, 2.0 - upper, upper)


def scaled_complement(x: Tensor) -> Tensor:
    """exp(x^2) erfc(x) for x of 0 and more."""
    return polynomial(SCALED, 1.0 - 4.0 / (x + 2.0)) / (1.0 + 2.0 * x)


def squared_exponential(x: Tensor) -> Tensor:
    """exp(-x^2): the square is taken in two parts, for its rounding would be multiplied."""
    x = x.abs().clamp(max=16.0)
    coarse = (x * SPLIT).round() / SPLIT
    return torch.exp(-coarse * coarse) * torch.exp((coarse - x) * (coarse + x))


def erfinv(x: Tensor) -> Tensor:
    """Within 5e-7 of the value; infinite at -1 and 1, NaN beyond."""
    x = x.float()
    w = -torch.log((1.0 - x) * (1.0 + x))
    far = w.clamp(min=BORDER).sqrt()
    ratio = torch.where(w < BORDER, polynomial(NEAR, w - NEAR_CENTRE), polynomial(FAR, far - FAR_CENTRE))
    return torch.where(x.abs() == 1.0, x * math.inf, ratio * x)


def polynomial(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """By Horner's rule, from the highest power down."""
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


ERROR_FUNCTIONS: dict[OpOverload, Callable] = {
    aten.erfc.default: erfc,
    aten.erfinv.default: erfinv,
    aten.special_erfcx.default: erfcx,
}
