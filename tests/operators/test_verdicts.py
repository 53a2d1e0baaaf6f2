"""Wrong results are found: a judge that never objects would let every operator pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from operators.results import tally
from operators.samples import Sample, first_samples
from operators.trial import Kind, Outcome, try_sample
from operators.verdicts import complaint

NAN, INFINITY = float("nan"), float("inf")


def judged(
    got: list[float] | np.ndarray, wanted: Tensor, exact: Callable[[Tensor], Tensor] | None = None
) -> str | None:
    function = (lambda x: [wanted.to(x.dtype)]) if exact is None else (lambda x: [exact(x)])
    mine = np.asarray(got, wanted.numpy().dtype)
    return complaint([mine], [wanted], function, [torch.zeros(3, dtype=torch.float32)])


def test_roundings_are_allowed_and_more_is_not() -> None:
    wanted = torch.tensor([1.0, 1000.0, -0.5])
    assert judged([1.000001, 1000.001, -0.5], wanted) is None
    assert judged([1.0, 1000.1, -0.5], wanted) == "result 0 at [1] is 1000.1, PyTorch has 1000"
    assert judged([1.0, 1000.0, 0.5], wanted) is not None


@pytest.mark.parametrize("got", [[NAN, 1.0, 2.0], [0.0, INFINITY, 2.0], [0.0, 1.0, -INFINITY]])
def test_special_values_stand_where_pytorch_has_them(got: list[float]) -> None:
    assert judged(got, torch.tensor([0.0, 1.0, 2.0])) is not None
    assert judged([0.0, 1.0, 2.0], torch.tensor(got)) is not None
    assert judged(got, torch.tensor(got)) is None


def test_integers_are_exact() -> None:
    assert judged([1, 2, 3], torch.tensor([1, 2, 3])) is None
    assert judged([1, 2, 4], torch.tensor([1, 2, 3])) is not None


def test_an_operator_that_loses_digits_is_compared_in_double_precision() -> None:
    """PyTorch is off by 0.01 here; four times that is the end."""
    wanted = torch.tensor([100.01, 1.0, 1.0])
    exact: Callable[[Tensor], Tensor] = lambda x: torch.tensor([100.0, 1.0, 1.0], dtype=x.dtype)  # noqa: E731
    assert judged([99.97, 1.0, 1.0], wanted, exact) is None
    assert judged([99.9, 1.0, 1.0], wanted, exact) is not None


def test_a_wrong_gradient_is_not_a_wrong_value() -> None:
    """A function whose gradient is written wrongly for programs alone."""

    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            return x * 0.5

        @staticmethod
        def backward(ctx, grad: Tensor) -> Tensor:
            traced = isinstance(grad, torch._subclasses.FakeTensor)
            return grad * (0.25 if traced else 0.5)

    x = torch.ones(3, requires_grad=True)
    forward, backward = try_sample(Sample("half", 0, lambda x: [Half.apply(x)], [x]))
    assert forward.kind is Kind.PASSED
    assert backward.kind is Kind.FAILED


def test_what_cannot_be_tried_is_not_counted_as_passed() -> None:
    kinds = {name: try_sample(next(first_samples(name, 1)))[0].kind for name in ("empty", "randn")}
    assert kinds["empty"] is Kind.RANDOM
    assert kinds["randn"] is Kind.RANDOM
    counted = tally(
        [(Outcome(Kind.EMPTY), Outcome(Kind.NOTHING)), (Outcome(Kind.REFUSED, "no"), Outcome(Kind.NOTHING))]
    )
    assert (counted.forward.tried, counted.empty, counted.is_claimed) == (1, 1, False)
