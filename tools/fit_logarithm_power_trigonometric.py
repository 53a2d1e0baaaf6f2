"""Derive the polynomials of log, pow, sin, cos, tan, atan, asin and sinh:

    python tools/fit_logarithm_power_trigonometric.py

Prints the constants as they stand in ``src/tallystick/ir/elementary/``. Every polynomial is nearly minimax for the
error it causes in the function's result, by least squares whose weights move towards the largest errors (Lawson).
Coefficients become binary32 one by one, the constant term first, and the rest are fitted again to make up for each
rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], Array]
POINTS = 4000
ROUNDS = 80


def lawson(target: Array, columns: Array, weight: Array) -> Array:
    """The c that makes the largest of weight * |columns @ c - target| nearly smallest."""
    size = np.abs(columns).max(axis=0)
    share = np.full(len(target), 1 / len(target))
    found = np.zeros(len(size))
    for _ in range(ROUNDS):
        scale = np.sqrt(share) * weight
        found = np.linalg.lstsq(columns / size * scale[:, None], target * scale, rcond=None)[0]
        share = share * np.abs((columns / size @ found - target) * weight)
        share /= share.sum()
    return found / size


def fit(
    function: Function, low: float, high: float, degree: int, weight: Function, start: Sequence[float] = ()
) -> None:
    """Print binary32 coefficients of a polynomial whose first ones are ``start``."""
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)
    known = list(start)
    while len(known) <= degree:
        rest = function(x) - sum((c * x**k for k, c in enumerate(known)), np.zeros_like(x))
        columns = np.stack([x**k for k in range(len(known), degree + 1)], axis=1)
        known.append(float(np.float32(lawson(rest, columns, weight(x))[0])))
    print(", ".join(c.hex() for c in known[len(start) :]))


def series(x: Array, terms: Sequence[float], near: float, otherwise: Function) -> Array:
    """A power series where |x| is below ``near`` and the closed form would cancel, the closed form elsewhere."""
    wide = x.astype(np.longdouble)
    value = sum(term * wide**k for k, term in enumerate(terms))
    small = np.abs(x) < near
    return np.where(small, value, otherwise(np.where(small, near, wide))).astype(np.float64)


def log_curvature(f: Array) -> Array:
    """(log(1 + f) - f) / f^2"""
    terms = [(-1) ** (k + 1) / k for k in range(2, 12)]
    return series(f, terms, 1e-3, lambda w: (np.log1p(w) - w) / w**2)


def atanh_tail(s: Array) -> Array:
    """(atanh(z) / z - 1 - s / 3) / s^2 for s = z^2"""
    return sum((s**k / (2 * k + 5) for k in range(16)), np.zeros_like(s))


def sine_tail(s: Array) -> Array:
    """(sin(r) - r) / r^3 for s = r^2"""
    return series(s, [-1 / 6, 1 / 120, -1 / 5040, 1 / 362880], 0.02, lambda w: (np.sin(w**0.5) - w**0.5) / w**1.5)


def cosine_tail(s: Array) -> Array:
    """(cos(r) - 1 + r^2 / 2) / r^4 for s = r^2"""
    return series(s, [1 / 24, -1 / 720, 1 / 40320, -1 / 3628800], 0.02, lambda w: (np.cos(w**0.5) - 1 + w / 2) / w**2)


def tangent_tail(s: Array) -> Array:
    """(tan(r) - r) / r^3 for s = r^2"""
    terms = [1 / 3, 2 / 15, 17 / 315, 62 / 2835, 1382 / 155925]
    return series(s, terms, 0.005, lambda w: (np.tan(w**0.5) - w**0.5) / w**1.5)


def arctangent_tail(s: Array) -> Array:
    """(atan(t) - t) / t^3 for s = t^2"""
    terms = [(-1) ** (k + 1) / (2 * k + 3) for k in range(8)]
    return series(s, terms, 0.005, lambda w: (np.arctan(w**0.5) - w**0.5) / w**1.5)


def arcsine_tail(s: Array) -> Array:
    """(asin(t) - t) / t^3 for s = t^2"""
    terms = [1 / 6, 3 / 40, 15 / 336, 105 / 3456, 945 / 42240, 10395 / 599040]
    return series(s, terms, 0.005, lambda w: (np.arcsin(w**0.5) - w**0.5) / w**1.5)


def hyperbolic_sine_tail(s: Array) -> Array:
    """(sinh(x) - x) / x^3 for s = x^2"""
    return series(s, [1 / 6, 1 / 120, 1 / 5040, 1 / 362880], 0.02, lambda w: (np.sinh(w**0.5) - w**0.5) / w**1.5)


if __name__ == "__main__":
    eighth = (np.pi / 4) ** 2 * 1.0001
    print("LOG")
    fit(log_curvature, 0.5**0.5 - 1, 2**0.5 - 1, 8, lambda f: f**2 / np.abs(np.log1p(f)), start=[-0.5])
    print("ATANH")
    fit(atanh_tail, 0.0, 0.0295, 3, lambda s: s**2)
    print("SIN")
    fit(sine_tail, 0.0, eighth, 3, lambda s: s)
    print("COS")
    fit(cosine_tail, 0.0, eighth, 3, lambda s: s**2)
    print("TAN")
    fit(tangent_tail, 0.0, eighth, 7, lambda s: s)
    print("ATAN")
    fit(arctangent_tail, 0.0, 1.0, 9, lambda s: s)
    print("ASIN")
    fit(arcsine_tail, 0.0, 0.25, 5, lambda s: s)
    print("SINH")
    fit(hyperbolic_sine_tail, 0.0, 1.0, 3, lambda s: s)
