"""Pools and their gradients against PyTorch, with ties, NaN, padding and windows that reach beyond it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lowered_operators import compare, gradients

MAXIMA: dict[str, tuple[tuple[int, ...], dict]] = {
    "tiles": ((2, 2, 4, 6), {"kernel_size": 2}),
    "tiles with a rest": ((1, 2, 5, 7), {"kernel_size": (2, 3)}),
    "overlapping": ((1, 2, 6, 5), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "gaps": ((1, 1, 7, 7), {"kernel_size": 2, "stride": 3}),
    "dilated": ((1, 1, 7, 6), {"kernel_size": 2, "stride": 1, "dilation": 2}),
    "ceiling": ((1, 1, 5, 6), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    "single element": ((1, 1, 4, 4), {"kernel_size": 1, "stride": 2}),
    "unbatched": ((2, 4, 4), {"kernel_size": 2}),
}


@pytest.mark.parametrize("case", MAXIMA)
def test_max_pool(case: str) -> None:
    shape, arguments = MAXIMA[case]
    torch.manual_seed(0)
    # Few different values: many ties.
    x = torch.randint(-2, 3, shape).float().requires_grad_()
    compare(gradients(lambda x: F.max_pool2d(x, **arguments)), x)
    compare(lambda x: F.max_pool2d(x, **arguments, return_indices=True), x.detach())


def test_max_pool_of_special_values() -> None:
    x = torch.full((1, 1, 4, 4), -float("inf"))
    x[0, 0, 0, 1], x[0, 0, 1, 1] = float("nan"), 5.0
    x[0, 0, 2, 2], x[0, 0, 3, 3] = -0.0, 0.0
    compare(lambda x: F.max_pool2d(x, 2, return_indices=True), x)
    compare(lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True), x)


MEANS: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "tiles": ((2, 2, 4, 6), lambda x: F.avg_pool2d(x, 2)),
    "tiles with a rest": ((1, 2, 5, 7), lambda x: F.avg_pool2d(x, (2, 3))),
    "overlapping": ((1, 2, 6, 5), lambda x: F.avg_pool2d(x, 3, 2, 1)),
    "padding not counted": ((1, 1, 5, 5), lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    "gaps": ((1, 1, 7, 7), lambda x: F.avg_pool2d(x, 2, 3)),
    "ceiling": ((1, 1, 5, 6), lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True)),
    "own divisor": ((1, 1, 4, 4), lambda x: F.avg_pool2d(x, 2, divisor_override=3)),
    "one dimension": ((1, 2, 7), lambda x: F.avg_pool1d(x, 3, 2)),
    "unbatched": ((2, 4, 4), lambda x: F.avg_pool2d(x, 2)),
    "adaptive, even": ((1, 2, 6, 4), lambda x: F.adaptive_avg_pool2d(x, (3, 2))),
    "adaptive, uneven": ((1, 2, 7, 5), lambda x: F.adaptive_avg_pool2d(x, (3, 2))),
    "adaptive to one": ((2, 3, 4, 5), lambda x: F.adaptive_avg_pool2d(x, 1)),
    "adaptive and larger": ((1, 1, 3, 2), lambda x: F.adaptive_avg_pool2d(x, (5, 4))),
}


@pytest.mark.parametrize("case", MEANS)
def test_mean_pool(case: str) -> None:
    shape, pool = MEANS[case]
    torch.manual_seed(0)
    compare(gradients(pool), torch.randn(shape, requires_grad=True))


def test_mean_pool_keeps_special_values_in_their_windows() -> None:
    x = torch.ones(1, 1, 7, 4)
    x[0, 0, 0, 0], x[0, 0, 3, 3] = float("nan"), float("inf")
    compare(lambda x: F.avg_pool2d(x, 2), x)
    compare(lambda x: F.adaptive_avg_pool2d(x, (3, 2)), x)
