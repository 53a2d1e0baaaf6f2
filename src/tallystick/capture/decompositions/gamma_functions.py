"""The logarithm of the gamma function and its derivatives, and inverse hyperbolic functions.

A gamma function is taken at a place 8 further on, where Stirling's series has converged, and led back by its
recurrence. Left of 0 it is reflected (Abramowitz and Stegun, 6.1.17, 6.1.40, 6.3.5, 6.3.18, 6.4.12).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten

SHIFT = 8
TERMS, LEAST = 20, -11.0  # of higher derivatives, which are not reflected
HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
LARGE = 1e8  # of a number whose square hides the 1 that is added to it


def lgamma(x: Tensor) -> Tensor:
    """log |gamma(x)|; infinite at 0 and at negative whole numbers."""
    x = x.float()
    right = torch.where(x < 0.5, 1.0 - x, x)
    value = log_gamma_right(right)
    # |sin(pi x)| by the distance to the nearest whole number, which is exact.
    sine = (math.pi * (x - x.round()).abs()).sin()
    value = torch.where(x < 0.5, math.log(math.pi) - sine.log() - value, value)
    return torch.where(x.abs() == math.inf, math.inf, value)


def log_gamma_right(x: Tensor) -> Tensor:
    """For x of 0.5 and more."""
    far = torch.where(x < SHIFT, x + SHIFT, x)
    inverse = 1.0 / far
    square = inverse * inverse
    series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0)))
    value = (far - 0.5) * far.log() - far + HALF_LOG_TWO_PI + series
    near = x.clamp(max=SHIFT)
    passed = near
    for step in range(1, SHIFT):
        passed = passed * (near + step)
    return torch.where(x < SHIFT, value - passed.log(), value)


def digamma(x: Tensor) -> Tensor:
    """The derivative of lgamma; NaN at negative whole numbers, infinite at 0."""
    x = x.float()
    right = torch.where(x < 0.5, 1.0 - x, x)
    far = torch.where(right < SHIFT, right + SHIFT, right)
    square = 1.0 / (far * far)
    value = far.log() - 0.5 / far - square * (1.0 / 12.0 - square * (1.0 / 120.0 - square * (1.0 / 252.0)))
    near = right.clamp(max=SHIFT)
    passed = sum((1.0 / (near + step) for step in range(1, SHIFT)), 1.0 / near)
    value = torch.where(right < SHIFT, value - passed, value)
    rest = x - x.round()
    value = torch.where(x < 0.5, value - math.pi / torch.tan(math.pi * rest), value)
    return torch.where(rest == 0, torch.where(x < 0, math.nan, torch.where(x == 0, -1.0 / x, value)), value)


def polygamma(n: int, x: Tensor) -> Tensor:
    """The n-th derivative of digamma. Of order 2 and more NaN below ``LEAST``, where PyTorch sums more terms."""
    if n == 0:
        return digamma(x)
    x = x.float()
    if n == 1:
        right = torch.where(x < 0.5, 1.0 - x, x)
        sine = (math.pi * (x - x.round())).sin()
        value = zeta(2, right, SHIFT)
        return torch.where(x < 0.5, (math.pi / sine) ** 2 - value, value)
    sign = 1.0 if n % 2 else -1.0
    return torch.where(x < LEAST, math.nan, sign * math.factorial(n) * zeta(n + 1, x, TERMS))


def zeta(s: int, x: Tensor, terms: int) -> Tensor:
    """The sum of (x + k)^-s over all k from 0 on: some terms, and Euler and Maclaurin's formula for the others."""
    shift = torch.where(x < terms, float(terms), 0.0)
    inverse = 1.0 / (x + shift)
    square = inverse * inverse
    rise = s * (s + 1.0) * (s + 2.0)
    series = s / 12.0 - square * (rise / 720.0 - square * (rise * (s + 3.0) * (s + 4.0) / 30240.0))
    rest = inverse ** (s - 1) * (1.0 / (s - 1.0) + inverse * 0.5 + square * series)
    near = x.clamp(max=terms)
    passed = sum(((1.0 / (near + step)) ** s for step in range(1, terms)), (1.0 / near) ** s)
    return torch.where(x < terms, rest + passed, rest)


# INVERSE HYPERBOLIC FUNCTIONS
def asinh(x: Tensor) -> Tensor:
    size = x.float().abs()
    near = size.clamp(max=LARGE)
    value = torch.log1p(near + near * near / (1.0 + (1.0 + near * near).sqrt()))
    value = torch.where(size > LARGE, size.log() + math.log(2.0), value)
    return torch.where(x < 0, -value, torch.where(x == 0, x.float(), value))


def acosh(x: Tensor) -> Tensor:
    """NaN below 1."""
    x = x.float()
    over = x.clamp(max=LARGE) - 1.0
    value = torch.log1p(over + (over * (over + 2.0)).sqrt())
    return torch.where(x < 1.0, math.nan, torch.where(x > LARGE, x.log() + math.log(2.0), value))


def atanh(x: Tensor) -> Tensor:
    """Infinite at -1 and 1, NaN beyond."""
    size = x.float().abs()
    value = 0.5 * torch.log1p(2.0 * size / (1.0 - size))
    return torch.where(x < 0, -value, torch.where(x == 0, x.float(), value))


GAMMA_FUNCTIONS: dict[OpOverload, Callable] = {
    aten.acosh.default: acosh,
    aten.asinh.default: asinh,
    aten.atanh.default: atanh,
    aten.digamma.default: digamma,
    aten.lgamma.default: lgamma,
    aten.polygamma.default: polygamma,
}
