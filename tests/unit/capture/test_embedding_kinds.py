"""Embeddings and bags of embeddings with their options."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from eager_training import GraphRunner, train_eagerly
from lowered_operators import compare, gradients, run_function
from tallystick.capture.optimizers.adam import SGD
from tallystick.capture.training import trace_training
from tallystick.errors import CaptureError

INDICES = torch.tensor([[3, 1, 1, 0], [1, 3, 3, 3]])
OFFSETS = torch.tensor([0, 3, 3, 4])


def table(rows: int = 5, width: int = 3) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(2)).requires_grad_()


@pytest.mark.parametrize("norm_type, norm", [(2.0, 1.5), (1.0, 2.0), (float("inf"), 1.0), (3.0, 1.5)])
def test_rows_that_are_looked_up_are_scaled_to_the_norm(norm_type: float, norm: float) -> None:
    """Rows that are not looked up, and those that are short enough, stay as they are."""

    def look_up(weight: Tensor) -> list[Tensor]:
        own = weight.clone()
        return [F.embedding(INDICES, own, max_norm=norm, norm_type=norm_type), own]

    weight = table().detach()
    compare(look_up, weight)
    found, after = run_function(look_up, weight)
    norms, before = (np.linalg.norm(rows, norm_type, 1) for rows in (after, weight.numpy()))
    used = np.isin(np.arange(5), INDICES.numpy())
    assert (after[~used] == weight.numpy()[~used]).all()
    assert (before[used] > norm).any() and (before[used] <= norm).any() and (before[~used] > norm).any()
    assert (after[used & (before <= norm)] == weight.numpy()[used & (before <= norm)]).all()
    np.testing.assert_allclose(norms[used & (before > norm)], norm, rtol=1e-6)
    assert (found == after[INDICES.numpy()]).all()


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "by frequency": lambda w: F.embedding(INDICES, w, scale_grad_by_freq=True),
    "by frequency, padded": lambda w: F.embedding(INDICES, w, padding_idx=3, scale_grad_by_freq=True),
    "bag, maxima": lambda w: F.embedding_bag(INDICES, w, mode="max"),
    "bag, maxima with empty bags": lambda w: F.embedding_bag(INDICES[0], w, OFFSETS, mode="max"),
    "bag, maxima, padded": lambda w: F.embedding_bag(INDICES, w, mode="max", padding_idx=3),
    "bag, maxima, only padding": lambda w: F.embedding_bag(
        torch.tensor([3, 3, 1]), w, OFFSETS[[0, 0, 1]] // 2, mode="max"
    ),
    "bag, last offset": lambda w: F.embedding_bag(INDICES[0], w, OFFSETS, mode="max", include_last_offset=True),
}


@pytest.mark.parametrize("name", KINDS)
def test_values_and_gradients(name: str) -> None:
    compare(gradients(KINDS[name]), table())


def test_a_bag_by_frequency_is_refused_and_the_advice_works() -> None:
    with pytest.raises(CaptureError, match=r"another row[\s\S]*nn\.Embedding with scale_grad_by_freq"):
        run_function(gradients(lambda w: F.embedding_bag(INDICES, w, mode="sum", scale_grad_by_freq=True)), table())
    compare(gradients(lambda w: F.embedding(INDICES, w, scale_grad_by_freq=True).sum(1)), table())


def test_of_equal_maxima_the_first_gets_the_gradient() -> None:
    weight = torch.tensor([[1.0, 2.0], [1.0, 3.0], [0.0, 3.0]], requires_grad=True)
    compare(gradients(lambda w: F.embedding_bag(torch.tensor([[2, 1, 0], [0, 1, 1]]), w, mode="max")), weight)


class SparseByPlace(nn.Embedding):
    """Gives the option as an argument without its name."""

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.weight, None, None, 2.0, False, True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Embedding(12, 8, max_norm=1.0),
        lambda: nn.Embedding(12, 8, sparse=True),
        lambda: SparseByPlace(12, 8),
        lambda: nn.EmbeddingBag(12, 8, mode="sum", sparse=True),
        lambda: nn.EmbeddingBag(12, 8, mode="max"),
        lambda: nn.EmbeddingBag(12, 8, mode="mean", max_norm=1.0),
    ],
    ids=["max_norm", "sparse", "sparse, by place", "sparse bag", "bag of maxima", "bag with max_norm"],
)
def test_training_is_that_of_eager_pytorch(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"table": make(), "head": nn.Linear(8, 3)})
    rng = np.random.default_rng(0)
    data = {"t": rng.integers(0, 12, (32, 5)), "y": rng.integers(0, 3, 32)}

    def loss(model: nn.Module, t: Tensor, y: Tensor) -> Tensor:
        hidden = model["table"](t)
        return F.cross_entropy(model["head"](hidden if hidden.dim() == 2 else hidden.mean(1)), y)

    options = {"batch_size": 8, "steps": 12}
    losses, state = train_eagerly(model, loss, SGD(0.5), data, **options)
    runner = GraphRunner(trace_training(model=model, loss=loss, optimizer=SGD(0.5), data=data, **options))
    runner.advance(12)
    np.testing.assert_allclose(runner.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(runner.values["model.table.weight"], state["table.weight"], rtol=1e-4, atol=1e-6)
