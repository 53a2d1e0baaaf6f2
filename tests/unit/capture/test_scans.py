"""Running extremes and log-sums, and scatters that combine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lowered_operators import compare, gradients

NAN, INFINITY = float("nan"), float("inf")
SCANS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "cummax": torch.cummax,
    "cummin": torch.cummin,
    "logcumsumexp": torch.logcumsumexp,
}


@pytest.mark.parametrize("name", SCANS)
def test_running_values(name: str) -> None:
    torch.manual_seed(2)
    x = torch.randint(-3, 4, (3, 6, 2)).to(torch.float32)
    x[0, 2, 0], x[0, 4, 0] = NAN, NAN
    x[1, 0, 0], x[1, 3, 1], x[2, :2, 0] = -INFINITY, INFINITY, -INFINITY
    compare(lambda x: SCANS[name](x, dim=1), x)
    compare(lambda x: SCANS[name](x, dim=-3), x)


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_running_extremes_of_integers(name: str) -> None:
    compare(lambda x: SCANS[name](x, dim=0), torch.tensor([3, 3, -5, 7, 7, -5]), rtol=0, atol=0)


def test_gradients_of_running_values() -> None:
    x = torch.randn(2, 5, generator=torch.Generator().manual_seed(1), requires_grad=True)
    compare(gradients(lambda x: torch.cummax(x, 1)[0]), x)
    compare(gradients(lambda x: torch.logcumsumexp(x, 1)), x)


def test_running_values_do_not_overflow() -> None:
    compare(lambda x: torch.logcumsumexp(x, 0), torch.tensor([500.0, 501.0, -600.0, 505.0]))


@pytest.mark.filterwarnings("ignore:index_reduce")  # PyTorch says that it is new
@pytest.mark.parametrize("include_self", [True, False], ids=["with what is there", "without"])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_what_meets_at_a_place_is_combined(reduce: str, include_self: bool) -> None:
    torch.manual_seed(3)
    x, source = torch.randn(4, 3), torch.randn(5, 3)
    index = torch.tensor([[0, 1, 3], [0, 0, 3], [2, 1, 3], [0, 1, 0], [2, 0, 0]])

    def scatter(x: Tensor, source: Tensor) -> Tensor:
        return x.scatter_reduce(0, index, source, reduce, include_self=include_self)

    compare(scatter, x, source)
    compare(gradients(scatter), x.requires_grad_(), source.requires_grad_())
    whole = torch.randint(-9, 9, (5, 3))
    compare(scatter, torch.randint(-9, 9, (4, 3)), whole, rtol=0, atol=0)
    if reduce != "sum":
        compare(
            lambda x, y: x.index_reduce(1, torch.tensor([2, 2]), y, reduce, include_self=include_self),
            x.detach(),
            torch.randn(4, 2),
        )


def test_extremes_at_a_place_keep_nan() -> None:
    source = torch.tensor([1.0, NAN, -2.0, 5.0])
    compare(lambda x, y: x.scatter_reduce(0, torch.tensor([0, 0, 1, 1]), y, "amax"), torch.zeros(3), source)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32])
@pytest.mark.parametrize("reduce", ["amax", "amin"])
def test_extremes_of_integers_without_what_is_there(reduce: str, dtype: torch.dtype) -> None:
    source = torch.tensor([100, 101, 7, 120]) if dtype is torch.uint8 else torch.tensor([-5, -3, 9, 7])
    compare(
        lambda x, y: x.scatter_reduce(0, torch.tensor([0, 0, 1, 1]), y, reduce, include_self=False),
        torch.zeros(3, dtype=dtype),
        source.to(dtype),
        rtol=0,
        atol=0,
    )
