"""What to do about an operator that cannot be captured, by the family it belongs to."""

from __future__ import annotations

from typing import Any

import torch

# Parts of operators' names, and what to say of an operator whose name has one of them.
_FAMILIES = (
    (
        ("linalg_", "svd", "eig", "lstsq"),
        "eigenvalues, singular values and what is made of them iterate until the data say that it is enough, which a "
        "program cannot do; compute it once outside of the step and pass it as data, iterate a fixed number of times "
        "with products (spectral_norm does), or use solve, inv, cholesky, qr or matrix_exp, which can be captured",
    ),
    (
        ("_standard_gamma_grad", "_dirichlet_grad"),
        "samples of gamma, beta and Dirichlet distributions have no gradient in a program; take .sample() instead of "
        ".rsample(), or a distribution that is made of normal numbers, such as LogNormal or LogisticNormal",
    ),
    (
        ("igamma", "special_", "aten.i0"),
        "this function has no measured sequence of instructions; write it with exp, log, pow, sqrt, erf, tanh and the "
        "trigonometric functions, or take its values from a table that you pass as data",
    ),
)
_RANDOM = (
    "draws random numbers that a program cannot draw; dropout, rand, randn and their like in a training step draw from "
    "its seed and step"
)
_OTHERS = (
    "write it with operators that can be, such as arithmetic, comparisons, where, matmul, sums, softmax, indexing; the "
    "reference page of operators lists them"
)


def advice(operator: Any) -> str:
    """What to use instead of an operator that has no lowering."""
    if torch.Tag.nondeterministic_seeded in getattr(operator, "tags", ()):
        return _RANDOM
    name = str(operator)
    return next((text for parts, text in _FAMILIES if any(part in name for part in parts)), _OTHERS)
