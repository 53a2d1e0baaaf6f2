"""Matrices factorised, inverted and exponentiated in a fixed number of steps, against PyTorch, with gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lowered_operators import array_of, capture_function, gradients, value_of
from operators.trial import run_fast
from tallystick.capture.decompositions.matrix_exponential import LARGEST, SQUARINGS
from tallystick.capture.decompositions.triangular import BLOCK, COLUMNS
from tallystick.capture.inputs import Role
from tallystick.errors import CaptureError
from tallystick.spec.programs import run_step


def matrix(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def positive(a: Tensor) -> Tensor:
    """A symmetric matrix whose eigenvalues are at least 1."""
    return a @ a.mT / a.shape[-1] + torch.eye(a.shape[-1])


def run(function: Callable[..., Tensor | list[Tensor]], *tensors: Tensor, spec: bool = False) -> list[np.ndarray]:
    """Results of the engine, or of the spec interpreter."""
    traced, lowered = capture_function(function, *tensors)
    slots = [made for made in traced.inputs if made.role is not Role.STEP]
    if not spec:
        return run_fast(lowered.program, [np.array(made.array, order="C") for made in slots])
    count = len(lowered.program.states)
    values = [value_of(made) for made in slots]
    after = run_step(lowered.program, values[:count], values[count:], 0)
    return [array_of(after[number]) for number in lowered.program.next_state]


def compare(function: Callable[..., Tensor], *tensors: Tensor, rtol: float = 1e-4) -> None:
    """Value and gradients, relative to the largest element."""
    own = [t.requires_grad_() for t in tensors]
    both = gradients(function)
    for got, want in zip(run(both, *own), both(*own), strict=True):
        want = want.detach().numpy()
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * np.abs(want).max())


SYSTEMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "solve": lambda a, b: torch.linalg.solve(a, b),
    "solve from the right": lambda a, b: torch.linalg.solve(a, b.mT, left=False),
    "solve, transposed": lambda a, b: torch.linalg.solve(a.mT, b),
    "a vector": lambda a, b: torch.linalg.solve(a, b[..., 0]),
    "inverse": lambda a, b: torch.linalg.inv(a) @ b,
    "factors, then solved": lambda a, b: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), b),
    "upper triangle": lambda a, b: torch.linalg.solve_triangular(a + 5 * torch.eye(a.shape[-1]), b, upper=True),
    "lower triangle": lambda a, b: torch.linalg.solve_triangular(a / 8, b, upper=False, unitriangular=True),
    "triangle from the right": lambda a, b: torch.linalg.solve_triangular(
        a + 5 * torch.eye(a.shape[-1]), b.mT, upper=True, left=False
    ),
    "Cholesky": lambda a, b: torch.linalg.cholesky(positive(a)) @ b,
    "Cholesky, upper": lambda a, b: torch.linalg.cholesky(positive(a), upper=True) @ b,
    "solved by Cholesky": lambda a, b: torch.cholesky_solve(b, torch.linalg.cholesky(positive(a))),
    "inverted by Cholesky": lambda a, b: torch.cholesky_inverse(torch.linalg.cholesky(positive(a))) @ b,
    "reflections": lambda a, b: torch.linalg.householder_product(a / 4, b[..., 0] / 4),
    "orthogonal factor": lambda a, b: torch.linalg.qr(a)[0] @ b,
    "triangular factor": lambda a, b: torch.linalg.qr(a)[1] @ b,
    "exponential": lambda a, b: torch.linalg.matrix_exp(a - a.mT) @ b,
    "determinant": lambda a, b: torch.linalg.det(a) * b,
    "its logarithm": lambda a, b: torch.linalg.slogdet(a)[1] * b,
    "negative power": lambda a, b: torch.linalg.matrix_power(a, -2) @ b,
    "normal density": lambda a, b: torch.distributions.MultivariateNormal(
        b[..., 0], positive(a), validate_args=False
    ).log_prob(b[..., 1]),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_small_matrices(name: str) -> None:
    compare(SYSTEMS[name], matrix(4, 4), matrix(4, 2, seed=1))


@pytest.mark.parametrize("name", ["solve", "lower triangle", "Cholesky", "orthogonal factor", "exponential"])
def test_batches(name: str) -> None:
    compare(SYSTEMS[name], matrix(2, 3, 3), matrix(2, 3, 2, seed=1))


@pytest.mark.parametrize("name", ["lower triangle", "solved by Cholesky"])
def test_more_columns_than_a_block(name: str) -> None:
    compare(SYSTEMS[name], matrix(BLOCK + 5, BLOCK + 5), matrix(BLOCK + 5, 2, seed=1))


def test_the_specification_agrees_with_the_engine_to_the_bit() -> None:
    a = matrix(3, 3).requires_grad_()
    both = gradients(lambda a: torch.linalg.solve(a, a.mT) + torch.linalg.matrix_exp(a))
    for mine, defined in zip(run(both, a), run(both, a, spec=True), strict=True):
        assert mine.tobytes() == defined.tobytes()


def test_rows_change_places_where_a_pivot_is_zero() -> None:
    compare(SYSTEMS["solve"], torch.tensor([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0], [3.0, 1.0, 0.0]]), matrix(3, 2))


def test_the_factors_are_lapacks() -> None:
    a = matrix(5, 5)
    got = run(lambda a: [*torch.linalg.lu(a), *torch.linalg.lu_factor_ex(a)], a)
    for mine, theirs in zip(got, [*torch.linalg.lu(a), *torch.linalg.lu_factor_ex(a)], strict=False):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_what_has_no_factor_is_no_number() -> None:
    """PyTorch raises; a loss of NaN ends a run and says where."""
    indefinite = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    factor, info = run(lambda a: list(torch.linalg.cholesky_ex(a)), indefinite)
    assert np.isnan(factor).all() and info == torch.linalg.cholesky_ex(indefinite).info.item() == 2
    found, info = run(
        lambda a: list(torch.linalg.solve_ex(a, torch.ones(2, 1))), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    )
    assert np.isnan(found).all() and info == 1
    (determinant,) = run(torch.linalg.det, torch.ones(2, 2))
    assert determinant == 0.0


def test_large_exponents_are_squared_as_often_as_needed() -> None:
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    turns = torch.stack([turn * angle for angle in (0.0, 0.3, 3.0, 100.0)])
    (got,) = run(torch.linalg.matrix_exp, turns)
    np.testing.assert_allclose(got, torch.linalg.matrix_exp(turns.double()).numpy(), atol=5e-5)
    (beyond,) = run(torch.linalg.matrix_exp, turn * (LARGEST * 2**SQUARINGS * 1.01))
    assert np.isnan(beyond).all()


def test_too_many_columns_are_refused_with_the_users_line() -> None:
    with pytest.raises(CaptureError, match=rf"elimination of {COLUMNS + 1} columns.*test_factorisations.py") as raised:
        capture_function(lambda a: torch.linalg.solve(a, a), torch.eye(COLUMNS + 1))
    assert "smaller blocks" in str(raised.value)


def test_newtons_iteration_inverts_what_is_too_large() -> None:
    """What the refusal proposes instead."""
    a = positive(matrix(COLUMNS + 1, COLUMNS + 1))

    def inverse(a: Tensor) -> Tensor:
        found = a.mT / (a.abs().sum(0).max() * a.abs().sum(1).max())
        for _ in range(20):
            found = 2 * found - found @ a @ found
        return found

    (got,) = run(inverse, a)
    np.testing.assert_allclose(got, torch.linalg.inv(a).numpy(), atol=1e-4)


def test_singular_values_are_refused_and_a_fixed_iteration_finds_the_largest() -> None:
    a = matrix(6, 4)
    with pytest.raises(CaptureError, match="iterate a fixed number of times with products"):
        capture_function(lambda a: torch.linalg.svdvals(a)[0], a)

    def largest(a: Tensor) -> Tensor:
        v = torch.ones(a.shape[-1])
        for _ in range(30):
            v = torch.nn.functional.normalize(a.mT @ (a @ v), dim=0)
        return (a @ v).norm()

    (got,) = run(largest, a)
    np.testing.assert_allclose(got, torch.linalg.svdvals(a)[0].numpy(), rtol=1e-4)
