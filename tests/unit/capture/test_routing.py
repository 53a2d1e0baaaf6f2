"""What mixtures of experts are made of: grouped products, sorting, counting, for every way the rows can be divided."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lowered_operators import capture_function, compare, gradients, run_function
from tallystick.capture.decompositions.routing import Blocks, grouped_mm
from tallystick.errors import CaptureError


def ends(*lengths: int) -> Tensor:
    """Where groups of these lengths end."""
    return torch.tensor(list(itertools.accumulate(lengths)), dtype=torch.int32)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def one_group_at_a_time(x: Tensor, matrices: Tensor, offs: Tensor) -> Tensor:
    """What a grouped product means."""
    parts, start = [], 0
    for end, matrix in zip(offs.tolist(), matrices, strict=True):
        parts.append(x[start:end] @ matrix)
        start = end
    return torch.cat([*parts, torch.zeros(len(x) - start, matrices.shape[2])])


DIVISIONS = {
    "even": (2, 2, 2),
    "all in the first": (6, 0, 0),
    "all in the last": (0, 0, 6),
    "one too many": (3, 1, 2),
    "empty ones between": (0, 5, 0, 0, 1),
    "more groups than rows": (0, 0, 1, 0, 0, 0, 1, 0),
    "one group": (5,),
}


@pytest.mark.parametrize("lengths", DIVISIONS.values(), ids=list(DIVISIONS))
def test_grouped_products_and_their_gradients(lengths: tuple[int, ...]) -> None:
    rows, offs = sum(lengths), ends(*lengths)
    x, matrices = drawn(rows, 4), drawn(len(lengths), 4, 8, seed=1)
    expected = [x.clone().requires_grad_(), matrices.clone().requires_grad_()]
    wanted = gradients(lambda x, w: one_group_at_a_time(x, w, offs))(*expected)
    got = run_function(
        gradients(lambda x, w: F.grouped_mm(x, w, offs=offs)), x.requires_grad_(), matrices.requires_grad_()
    )
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=2e-6, atol=2e-6)


def test_the_program_is_one_for_all_divisions() -> None:
    """Where groups end is data: one program gives every division's products."""
    x, matrices = drawn(5, 4), drawn(3, 4, 8, seed=1)
    programs = set()
    for lengths in [(5, 0, 0), (0, 2, 3), (1, 3, 1), (1, 1, 1)]:
        offs = ends(*lengths)
        _, lowered = capture_function(lambda x, w, offs: F.grouped_mm(x, w, offs=offs), x, matrices, offs)
        programs.add(lowered.program)
        got = run_function(lambda x, w, offs: F.grouped_mm(x, w, offs=offs), x, matrices, offs)[0]
        inside = sum(lengths)  # what is behind the last group PyTorch does not write
        np.testing.assert_allclose(got[:inside], one_group_at_a_time(x, matrices, offs)[:inside], rtol=2e-6, atol=2e-6)
    assert len(programs) == 1


@pytest.mark.parametrize("rows, experts", [(6, 3), (7, 3), (2, 8), (8, 1), (5, 4)])
def test_every_division_fits_the_blocks(rows: int, experts: int) -> None:
    """Each row of each group stands in a slot of its own, in a block of its own expert."""
    for cuts in itertools.combinations_with_replacement(range(rows + 1), experts - 1):
        offs = torch.tensor([*cuts, rows])
        blocks = Blocks.of(offs, rows)
        assert blocks.filled.sum() == rows and blocks.grouped.all()
        assert blocks.row.flatten()[blocks.slot].tolist() == list(range(rows))
        assert blocks.filled.flatten()[blocks.slot].all()
        owner = (offs <= torch.arange(rows).unsqueeze(1)).sum(1)
        assert blocks.expert[blocks.slot // blocks.row.shape[1]].tolist() == owner.tolist()


def test_rows_of_other_groups_do_not_leak() -> None:
    x, matrices = drawn(4, 4), drawn(2, 4, 8)
    x[3] = float("nan")
    got = run_function(lambda x, w: F.grouped_mm(x, w, offs=ends(3, 1)), x, matrices)[0]
    assert np.isfinite(got[:3]).all() and np.isnan(got[3]).all()


SORTS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "last": lambda x: torch.sort(x, stable=True),
    "first": lambda x: torch.sort(x, dim=0, stable=True),
    "descending": lambda x: torch.sort(x, descending=True, stable=True),
}


@pytest.mark.parametrize("sort", SORTS.values(), ids=list(SORTS))
def test_sorted_elements(sort: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
    x = torch.tensor([[2.0, -1.0, 2.0, float("nan"), 0.0], [1.0, 1.0, float("inf"), -0.0, 0.0]])
    compare(sort, x, rtol=0, atol=0)
    compare(sort, (drawn(3, 7) * 2).to(torch.int64), rtol=0, atol=0)
    compare(gradients(lambda x: sort(x)[0]), drawn(3, 4).requires_grad_())


def test_counts_in_intervals() -> None:
    compare(lambda x: torch.histc(x, bins=7, min=0, max=6), torch.tensor([0.0, 1, 1, 3, 6, 6, 6, 7, -1]))
    compare(lambda x: torch.histc(x, bins=5, min=-1.0, max=2.0), drawn(40))
    compare(lambda x: torch.histc(x, bins=3), drawn(5))
    compare(lambda x: torch.histc(x, bins=4), torch.full((5,), 2.0))


def test_a_grouped_product_with_a_bias_is_refused() -> None:
    with pytest.raises(CaptureError, match="add the bias to its result"):
        grouped_mm(drawn(4, 4), drawn(2, 4, 8), ends(2, 2), torch.zeros(8))
