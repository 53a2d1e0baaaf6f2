"""Embeddings, gathers and scatters against PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lowered_operators import compare, gradients, run_function

ONES = torch.ones(3)
LINES = torch.tensor([[2, 0, 2], [4, 1, 0]])


def floats(*shape: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(shape, requires_grad=True)


READS: dict[str, tuple[Callable[..., Tensor], tuple[int, ...]]] = {
    "embedding": (lambda x: F.embedding(LINES, x), (5, 3)),
    "embedding with padding": (lambda x: F.embedding(LINES, x, padding_idx=0), (5, 3)),
    "embedding of one": (lambda x: F.embedding(torch.tensor(3), x), (5, 3)),
    "index_select": (lambda x: x.index_select(1, torch.tensor([2, 2, 0])), (2, 3, 2)),
    "index_select at the end": (lambda x: x.index_select(-1, torch.tensor([1])), (3, 2)),
    "gather": (lambda x: x.gather(0, LINES), (5, 3)),
    "gather of a part": (lambda x: x.gather(1, LINES[:1, :2] % 3), (2, 3)),
    "one index": (lambda x: x[LINES], (5, 2)),
    "negative index": (lambda x: x[torch.tensor([-1, 0, -5])], (5, 2)),
    "two indices": (lambda x: x[torch.tensor([0, 1]), torch.tensor([2, -1])], (2, 3, 2)),
    "inner index": (lambda x: x[:, torch.tensor([2, 0])], (2, 3, 2)),
    "separated indices": (lambda x: x[torch.tensor([0, 1]), :, torch.tensor([1, 0])], (2, 3, 2)),
    "broadcast indices": (lambda x: x[torch.tensor([[0], [1]]), torch.tensor([2, 1, 0])], (2, 3)),
    "of a transposed tensor": (lambda x: x.t()[torch.tensor([1, 1, 0])], (3, 2)),
    "of a reshaped tensor": (lambda x: x.permute(1, 0, 2).reshape(3, 4)[torch.tensor([2, 0])], (2, 3, 2)),
    "take_along_dim": (lambda x: torch.take_along_dim(x, LINES[:, :2] % 2, 1), (2, 2)),
}


@pytest.mark.parametrize("case", READS)
def test_reads_and_their_gradients(case: str) -> None:
    function, shape = READS[case]
    compare(gradients(function), floats(*shape))


WRITES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "index_add": lambda x, y: x.index_add(0, torch.tensor([1, 1, 0]), y[:3], alpha=2.0),
    "scatter_add": lambda x, y: x.scatter_add(0, torch.tensor([[0, 1], [0, 1], [3, 1]]), y[:3]),
    "scatter": lambda x, y: x.scatter(1, torch.tensor([[1], [0]]), y[:2, :1]),
    "scatter a number": lambda x, y: x.scatter(1, torch.tensor([[1], [0]]), 7.0) * y.sum(),
    "index_put": lambda x, y: x.index_put((torch.tensor([0, -1]),), y[:2]),
    "index_put, adding": lambda x, y: x.index_put((torch.tensor([0, 0]),), y[:2], accumulate=True),
    "index_put, inner": lambda x, y: columns_assigned(x, y[:, :1]),
    "assigning a number": lambda x, y: assigned(x, 3.0) * y,
    "assigning by mask": lambda x, y: masked(x) * y,
    "assigning a row": lambda x, y: row_assigned(x, y[0]),
    "scatter_reduce": lambda x, y: x.scatter_reduce(0, torch.tensor([[0, 1], [0, 1]]), y[:2], "sum"),
}


def assigned(x: Tensor, number: float) -> Tensor:
    x = x.clone()
    x[torch.tensor([1, 2]), torch.tensor([0, 1])] = number
    return x


def columns_assigned(x: Tensor, values: Tensor) -> Tensor:
    x = x.clone()
    x[:, torch.tensor([1])] = values
    return x


def masked(x: Tensor) -> Tensor:
    x = x.clone()
    x[x > 0] = -1.0
    return x


def row_assigned(x: Tensor, row: Tensor) -> Tensor:
    x = x.clone()
    x[1] = row
    x[:, 1] = 2.0
    return x


@pytest.mark.parametrize("case", WRITES)
def test_writes_and_their_gradients(case: str) -> None:
    torch.manual_seed(1)
    compare(gradients(WRITES[case]), torch.randn(4, 2, requires_grad=True), torch.randn(4, 2, requires_grad=True))


def test_later_writes_win() -> None:
    compare(lambda x: torch.zeros(3).scatter(0, torch.tensor([1, 1, 0]), x), torch.tensor([1.0, 2.0, 3.0]))


def test_special_values_are_moved_as_they_are() -> None:
    x = torch.tensor([[float("nan"), -0.0], [float("inf"), 1e-42]])
    (rows,) = run_function(lambda x: F.embedding(torch.tensor([1, 0, 1]), x), x)
    assert rows.view("uint32").tolist() == x.numpy()[[1, 0, 1]].view("uint32").tolist()
