"""Derive the polynomials of exp, exp2, expm1, tanh, sigmoid and erf: python tools/fit_exponential_hyperbolic_error.py

Prints the constants as they stand in ``src/tallystick/ir/elementary/``. Every polynomial is the minimax one for the
error it causes in the function's result, found as a linear program over Chebyshev points. Coefficients become binary32
one by one, the most important first, and the rest are fitted again to make up for each rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Array = NDArray[np.float64]
HALF_STEP = np.log(2) / 2 * 1.0005  # an argument rounded to the nearest multiple of ln 2 leaves this much, and a little
ULP = 2.0**-24  # of a result just below 1


def chebyshev_points(low: float, high: float, count: int = 600) -> Array:
    angles = np.pi * (np.arange(count) + 0.5) / count
    return (low + high) / 2 + (high - low) / 2 * np.cos(angles)


def minimax(columns: Array, target: Array, weight: Array) -> Array:
    """The c that makes the largest of weight * |columns @ c - target| smallest."""
    columns, target = columns * weight[:, None], target * weight
    size = np.abs(columns).max(axis=0)
    columns = columns / size
    # Start at least squares, so that the linear program is about numbers of size 1.
    start = np.linalg.lstsq(columns, target, rcond=None)[0]
    rest = target - columns @ start
    unit = np.abs(rest).max()
    ones = np.ones((len(rest), 1))
    result = optimize.linprog(
        c=np.append(np.zeros(len(size)), 1.0),
        A_ub=np.vstack([np.hstack([columns, -ones]), np.hstack([-columns, -ones])]),
        b_ub=np.concatenate([rest, -rest]) / unit,
        bounds=[(None, None)] * len(size) + [(0, None)],
        method="highs",
    )
    return (start + result.x[:-1] * unit) / size


def fit(x: Array, target: Array, weight: Array, powers: Sequence[int]) -> tuple[list[float], float]:
    """Binary32 coefficients of a polynomial with these powers of x, and the largest weighted error."""
    coefficients: list[float] = []
    rest = target
    for place, power in enumerate(powers):
        columns = np.stack([x**p for p in powers[place:]], axis=1)
        coefficients.append(float(np.float32(minimax(columns, rest, weight)[0])))
        rest = rest - coefficients[-1] * x**power
    return coefficients, float(np.abs(rest * weight).max())


def show(name: str, fitted: tuple[list[float], float]) -> None:
    coefficients, error = fitted
    print(f"{name} = {tuple(coefficients)}  # {error / ULP:.3f} of 2^-24")


def fit_exponentials() -> None:
    """The polynomials of exponential.py: exp(r) = 1 + r + r^2 EXP(r), and so on. Errors are relative."""
    r = chebyshev_points(-HALF_STEP, HALF_STEP)
    # Below -0.28 exp(r) - 1 is so large and exp(r) so small that roundings alone nearly use up the ulp.
    tight = np.where(r < -0.28, 4.0, 1.0)
    show("EXP", fit(r, np.expm1(r) - r, tight * np.exp(-r), range(2, 7)))
    r = chebyshev_points(1.001 * np.log(0.75), 1.001 * np.log(1.5))
    show("EXPM1", fit(r, np.expm1(r) - r, 1 / np.abs(np.expm1(r)), range(2, 8)))
    r = chebyshev_points(-0.5, 0.5)
    show("EXP2", fit(r, np.exp2(r) - 1, np.exp2(-r), range(1, 7)))


def fit_tanh(limit: float) -> None:
    """The polynomials of tanh: x + x^3 TANH_NEAR(x^2) below the limit, an exponential of twice the argument above."""
    x = chebyshev_points(1e-3, limit)
    show("TANH_NEAR", fit(x**2, np.tanh(x) / x - 1, x / np.tanh(x), range(1, 8)))
    r = chebyshev_points(-HALF_STEP / 2, HALF_STEP / 2)
    show("EXP_OF_TWICE", fit(r, np.expm1(2 * r), np.exp(-2 * r), range(1, 7)))


def fit_erf(limit: float, saturation: float) -> None:
    """The polynomials of error.py: x + x NEAR(x^2) below the limit, 1 - 2^(-3 + d FAR(d)) above, d = x - CENTRE."""
    x = chebyshev_points(1e-3, limit)
    show("NEAR", fit(x**2, special.erf(x) / x - 1, x / special.erf(x), range(6)))
    centre = float(np.float32(special.erfcinv(0.125)))
    x = chebyshev_points(limit, saturation, 1200)
    rest = special.erfc(x)
    print(f"CENTRE = {centre!r}")
    show("FAR", fit(x - centre, np.log2(rest) + 3, rest * np.log(2) / special.erf(x), range(1, 7)))


if __name__ == "__main__":
    fit_exponentials()
    fit_tanh(limit=1.0)
    fit_erf(limit=0.85, saturation=3.95)
