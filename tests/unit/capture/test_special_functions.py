"""Functions that are written out by series: against float64, at their ends, and their gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lowered_operators import compare, gradients, run_function
from tallystick.capture.decompositions import error_functions, gamma_functions

Function = Callable[[Tensor], Tensor]

RIGHT = torch.cat([torch.logspace(-4, 6, 4000), torch.linspace(0.01, 20, 4001)])
LEFT = -torch.linspace(0.013, 9.9, 4001)
UNIT = torch.linspace(-0.9999, 0.9999, 4001)
REAL = torch.linspace(-9, 13, 4001)

# Ours, PyTorch's, where they are compared, and the largest errors: of the value, and beside it near a zero.
PRECISION: dict[str, tuple[Function, Function, Tensor, float, float]] = {
    "lgamma": (gamma_functions.lgamma, torch.lgamma, RIGHT, 1e-6, 5e-6),
    "lgamma, left": (gamma_functions.lgamma, torch.lgamma, LEFT, 1e-6, 8e-6),
    "digamma": (gamma_functions.digamma, torch.digamma, RIGHT, 1e-6, 2e-6),
    "digamma, left": (gamma_functions.digamma, torch.digamma, LEFT, 2e-6, 1e-5),
    "trigamma": (lambda x: gamma_functions.polygamma(1, x), lambda x: torch.polygamma(1, x), RIGHT, 2e-6, 0.0),
    "trigamma, left": (lambda x: gamma_functions.polygamma(1, x), lambda x: torch.polygamma(1, x), LEFT, 2e-6, 0.0),
    "third": (lambda x: gamma_functions.polygamma(3, x), lambda x: torch.polygamma(3, x), RIGHT[:2500], 3e-6, 0.0),
    "asinh": (gamma_functions.asinh, torch.asinh, torch.cat([RIGHT, -RIGHT]), 3e-7, 0.0),
    "acosh": (gamma_functions.acosh, torch.acosh, 1.0 + RIGHT, 3e-7, 0.0),
    "atanh": (gamma_functions.atanh, torch.atanh, UNIT, 3e-7, 0.0),
    "erfc": (error_functions.erfc, torch.erfc, REAL[REAL < 9], 1e-6, 0.0),
    "erfcx": (error_functions.erfcx, torch.special.erfcx, REAL, 1e-6, 0.0),
    "erfinv": (error_functions.erfinv, torch.erfinv, UNIT, 1e-6, 0.0),
}


@pytest.mark.parametrize("name", PRECISION)
def test_precision(name: str) -> None:
    ours, theirs, x, relative, beside = PRECISION[name]
    np.testing.assert_allclose(ours(x).double(), theirs(x.double()), rtol=relative, atol=beside)


ENDS = torch.tensor(
    [0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 1.5, 1e-30, -1e30, 3e38, float("inf"), -float("inf"), float("nan")]
)


@pytest.mark.parametrize(
    "function",
    [torch.lgamma, torch.digamma, torch.asinh, torch.acosh, torch.atanh, torch.erfc, torch.erfinv],
    ids=lambda function: function.__name__,
)
def test_ends_and_special_numbers(function: Function) -> None:
    x = ENDS[:8] if function in (torch.digamma,) else ENDS
    (got,) = run_function(function, x)
    np.testing.assert_allclose(got, function(x).numpy(), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    "function",
    [
        torch.lgamma,
        torch.digamma,
        lambda x: torch.polygamma(1, x),
        torch.asinh,
        lambda x: torch.acosh(1 + x),
        lambda x: torch.atanh(torch.tanh(x)),
        torch.erfc,
        torch.special.log_ndtr,
        lambda x: torch.distributions.Beta(x, x + 1.0, validate_args=False).entropy(),
    ],
)
def test_gradients(function: Function) -> None:
    x = torch.linspace(0.1, 4.0, 12).requires_grad_()
    compare(gradients(function), x, rtol=1e-5, atol=1e-5)
