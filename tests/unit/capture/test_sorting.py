"""Sorting, and what picks elements by their order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lowered_operators import compare, gradients, run_function
from tallystick.capture.lowerings.sorting import COUNTED


def drawn(*shape: int) -> Tensor:
    """Few distinct numbers, so that many are equal."""
    torch.manual_seed(4)
    return torch.randint(-4, 5, shape).to(torch.float32) / 2


@pytest.mark.parametrize("descending", [False, True], ids=["upwards", "downwards"])
@pytest.mark.parametrize("length", [2, 7, COUNTED + 3])
def test_rows_are_sorted_and_equals_keep_their_order(length: int, descending: bool) -> None:
    x = drawn(length, 2)
    special = torch.tensor([float("nan"), -0.0, 0.0, float("inf"), -float("inf"), 1e-42, float("nan")])
    x[: min(length, 7), 0] = special[: min(length, 7)]
    compare(lambda x: torch.sort(x, dim=0, descending=descending, stable=True), x, rtol=0, atol=0)


def test_integers_are_sorted() -> None:
    x = torch.tensor([[3, -(2**31), 2**31 - 1, 0, 3], [1, 1, 0, -1, 1]])
    compare(lambda x: torch.sort(x, stable=True), x, rtol=0, atol=0)
    compare(lambda x: torch.sort(x, stable=True, descending=True), x, rtol=0, atol=0)


def test_the_gradient_goes_where_elements_came_from() -> None:
    x = torch.tensor([[3.0, -1.0, 2.0, 0.5], [0.0, 4.0, -2.0, 1.0]], requires_grad=True)
    compare(gradients(lambda x: torch.sort(x)[0]), x)
    compare(gradients(lambda x: x.topk(3, largest=False)[0]), x)
    compare(gradients(lambda x: x.median(1)[0]), x)
    compare(gradients(lambda x: x.kthvalue(3, 0, keepdim=True)[0] if x.shape[0] > 2 else x.kthvalue(2, 0)[0]), x)


PICKED: dict[str, Callable[[Tensor], tuple[Tensor, ...] | Tensor]] = {
    "many of the largest": lambda x: x.topk(17)[0],
    "smallest": lambda x: x.topk(2, dim=0, largest=False)[0],
    "median": lambda x: x.median(1)[0],
    "median of all": lambda x: x.median(),
    "median without NaN": lambda x: x.nanmedian(1)[0],
    "median without NaN of all": lambda x: x.nanmedian(),
    "kth value": lambda x: x.kthvalue(4)[0],
    "mode": lambda x: x.mode(1)[0],  # of several places PyTorch gives any
    "quantile": lambda x: x.quantile(0.3, 1),
    "place": lambda x: torch.searchsorted(torch.tensor([-1.5, -0.5, -0.5, 1.0]), x),
    "place behind equals": lambda x: torch.bucketize(x, torch.tensor([-1.5, -0.5, -0.5, 1.0]), right=True),
}


@pytest.mark.parametrize("missing", [False, True], ids=["numbers", "with NaN"])
@pytest.mark.parametrize("name", PICKED)
def test_elements_picked_by_order(name: str, missing: bool) -> None:
    x = drawn(4, 19)
    if missing and name != "mode":
        x[1, 3] = float("nan")
    compare(PICKED[name], x, rtol=1e-6, atol=0)


def test_the_largest_of_integers_that_floats_cannot_tell_apart() -> None:
    x = torch.tensor([[2**24, 2**24 + 1, -(2**31), -(2**24) - 1, 2**31 - 1]])
    compare(lambda x: x.topk(5), x, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.int64])
def test_the_mode_of_integers(dtype: torch.dtype) -> None:
    compare(lambda x: x.mode(1)[0], torch.tensor([[3, 3, 5, 9], [7, 1, 1, 2]], dtype=dtype), rtol=0, atol=0)


def test_the_place_of_a_mode_that_is_nan_lies_in_the_row() -> None:
    values, places = run_function(lambda x: x.mode(1), torch.full((1, 3), float("nan")))
    assert np.isnan(values).all()
    assert places.tolist() == [0]


def test_places_in_rows_of_their_own() -> None:
    bounds = drawn(3, 6).sort(1)[0]
    for right in (False, True):
        compare(lambda b, x, side=right: torch.searchsorted(b, x, right=side), bounds, drawn(3, 4), rtol=0, atol=0)


def test_a_long_row_says_where_its_elements_were() -> None:
    torch.manual_seed(0)
    x = torch.randn(COUNTED + 44)
    values, places = run_function(lambda x: torch.sort(x), x)
    np.testing.assert_array_equal(values, np.sort(x.numpy()))
    np.testing.assert_array_equal(x.numpy()[places], values)
