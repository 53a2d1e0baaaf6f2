"""Signs, exponents, neighbours and lengths of floats, bit for bit where PyTorch is exact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lowered_operators import run_function
from special_values import assert_same_bits, assert_within_ulps, float_pairs, floats, integer_pairs

EXACT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "copysign": torch.copysign,
    "copysign of a number": lambda x, y: torch.copysign(x, -2.0),
    "nextafter": torch.nextafter,
    "mantissa": lambda x, y: torch.frexp(x)[0],
    "exponent": lambda x, y: torch.frexp(x)[1],
    "angle": lambda x, y: torch.angle(x),
    "signbit": lambda x, y: torch.signbit(x.nan_to_num()),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_functions(name: str) -> None:
    x, y = float_pairs()
    (got,) = run_function(EXACT[name], x, y)
    want = EXACT[name](x, y).numpy()
    if name == "exponent":  # of what has none PyTorch says anything
        kept = np.isfinite(x.numpy()) & (x.numpy() != 0)
        got, want = got[kept], want[kept]
    assert_same_bits(got, want)


@pytest.mark.parametrize("function", [torch.fmax, torch.fmin])
def test_a_number_wins_over_nan(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    x, y = float_pairs()
    (got,) = run_function(function, x, y)
    np.testing.assert_array_equal(got, function(x, y).numpy())  # of two zeros either may win
    (got,) = run_function(function, *integer_pairs())
    np.testing.assert_array_equal(got, function(*integer_pairs()).numpy())


def test_lengths_neither_overflow_nor_vanish() -> None:
    x, y = float_pairs()
    (got,) = run_function(torch.hypot, x, y)
    assert_within_ulps(got, np.hypot(x.numpy().astype(np.float64), y.numpy().astype(np.float64)), 1)
    x, y = floats(1, 200), floats(2, 200).flip(0)
    (got,) = run_function(torch.hypot, x, y)
    assert_within_ulps(got, np.hypot(x.numpy().astype(np.float64), y.numpy().astype(np.float64)), 1)


def test_neighbours_of_narrow_floats() -> None:
    x = torch.tensor([1.0, -1.0, 0.0, -0.0, 3.3895e38, 1e-40, float("nan")], dtype=torch.bfloat16)
    y = torch.tensor([2.0, 0.0, 1.0, -1.0, float("inf"), 0.0, 1.0], dtype=torch.bfloat16)
    (got,) = run_function(torch.nextafter, x, y)
    want = torch.nextafter(x, y)
    np.testing.assert_array_equal(got[:-1].view(np.int16), want[:-1].view(torch.int16).numpy())
    assert got[-1] == 0x7FC0
