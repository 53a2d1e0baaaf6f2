"""Sparse tensors: from outside, in buffers and made inside, with the products, sums and gradients of eager PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tallystick as ts
from eager_training import GraphRunner, train_eagerly
from lowered_operators import capture_function, gradients, run_function
from tallystick.capture import capture_training
from tallystick.capture.optimizers.adam import Adam
from tallystick.engine import Engine
from tallystick.errors import CaptureError

pytestmark = pytest.mark.filterwarnings("ignore:Sparse")  # PyTorch says that parts of them are in beta
N, F = 5, 3
PLACES = torch.tensor([[0, 1, 1, 4, 4, 3], [2, 0, 3, 4, 4, 1]])  # one of them twice
NUMBERS = torch.tensor([0.5, -1.0, 2.0, 0.25, 0.75, 1.5])
OUTSIDE = torch.sparse_coo_tensor(PLACES, NUMBERS, (N, N), check_invariants=True)
SORTED = PLACES[:, [0, 1, 2, 5, 3]]  # none twice


def inside(weights: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(PLACES, weights, (N, N), check_invariants=True)


def by_rows(weights: Tensor) -> Tensor:
    return torch.sparse_csr_tensor(
        torch.tensor([0, 1, 3, 3, 4, 5]), SORTED[1], weights[:5], (N, N), check_invariants=True
    )


# Of dense rows h (N, F) and six weights w.
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sparse.mm": lambda h, w: torch.sparse.mm(OUTSIDE, h) + torch.sparse.mm(inside(w), h),
    "mm": lambda h, w: torch.mm(OUTSIDE, h) + inside(w).mm(h),
    "@": lambda h, w: OUTSIDE @ h + inside(w) @ h,
    "matmul": lambda h, w: torch.matmul(inside(w), h) + OUTSIDE.matmul(h),
    "spmm": lambda h, w: torch.spmm(inside(w), h),
    "a vector": lambda h, w: OUTSIDE @ h[:, 0] + torch.mv(inside(w), h[:, 1]),
    "dense first": lambda h, w: h.t() @ OUTSIDE + h.t() @ inside(w),
    "addmm": lambda h, w: torch.addmm(h.cos(), OUTSIDE, h, beta=0.5, alpha=2.0) + torch.sparse.addmm(h, inside(w), h),
    "transposed": lambda h, w: OUTSIDE.t() @ h + inside(w).t() @ h,
    "merged": lambda h, w: inside(w).coalesce() @ h + inside(w).coalesce().values().square().sum(),
    "sum": lambda h, w: torch.sparse.sum(inside(w)) * h + OUTSIDE.sum(),
    "sum of rows": lambda h, w: torch.sparse.sum(inside(w), 1).to_dense().unsqueeze(1) * h,
    "sum of columns": lambda h, w: torch.sparse.sum(inside(w), dim=0).to_dense().unsqueeze(1) * h,
    "dense": lambda h, w: inside(w).to_dense() @ h + OUTSIDE.to_dense() @ h,
    "scaled": lambda h, w: (inside(w) * 2.0) @ h + (0.5 * OUTSIDE) @ h + (inside(w) / 4.0) @ h,
    "added": lambda h, w: (inside(w) + inside(w.sin())) @ h + (inside(w) + OUTSIDE) @ h,
    "both from outside": lambda h, w: (OUTSIDE @ OUTSIDE) @ h,
    "rows from outside": lambda h, w: by_rows(NUMBERS) @ h + w.sum(),
    "numbers and places": lambda h, w: OUTSIDE.coalesce().values().sum() * h[OUTSIDE.coalesce().indices()[0]],
    "sizes": lambda h, w: (inside(w) @ h) * inside(w).shape[0] / OUTSIDE.size(1) + inside(w).dim(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_and_gradients_are_those_of_eager_pytorch(name: str) -> None:
    h = torch.from_numpy(np.random.default_rng(0).standard_normal((N, F), dtype=np.float32)).requires_grad_()
    w = torch.from_numpy(np.random.default_rng(1).standard_normal(6, dtype=np.float32)).requires_grad_()
    function = gradients(lambda h, w: FUNCTIONS[name](h, w) + 0.0 * (h.sum() + w.sum()))
    for ours, theirs in zip(run_function(function, h, w), function(h, w), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_rows_of_computed_weights_are_those_of_the_same_places() -> None:
    """Eager PyTorch has no gradient for them."""
    h, w = torch.randn(N, F), torch.randn(6)
    (ours,) = run_function(lambda h, w: by_rows(w) @ h, h, w)
    dense = torch.zeros(N, N).index_put(tuple(SORTED), w[:5])
    np.testing.assert_allclose(ours, dense @ h, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_is_that_of_what_the_places_hold(dim: int) -> None:
    """Eager PyTorch has no gradient for it times a dense matrix, so dense tensors are compared with."""

    def function(h: Tensor, w: Tensor) -> Tensor:
        return torch.sparse.softmax(inside(w), dim) @ h

    def dense(h: Tensor, w: Tensor) -> Tensor:
        held = torch.zeros(N, N, dtype=torch.bool).index_put(tuple(PLACES), torch.tensor(True))
        return torch.where(held, inside(w).to_dense(), -torch.inf).softmax(dim).nan_to_num() @ h

    h, w = torch.randn(N, F).requires_grad_(), torch.randn(6).requires_grad_()
    with torch.no_grad():
        torch.testing.assert_close(function(h, w), dense(h, w))
    expected = gradients(dense)(h, w)
    traced, _ = capture_function(lambda h, w: gradients(function if is_traced(h) else dense)(h, w), h, w)
    runner = GraphRunner(traced)
    runner.advance(1)
    for number, theirs in enumerate(expected):
        np.testing.assert_allclose(runner.values[f"result.{number}"], theirs.detach(), rtol=1e-5, atol=1e-6)


def is_traced(tensor: Tensor) -> bool:
    return isinstance(tensor, torch._subclasses.FakeTensor)


def test_places_that_are_computed() -> None:
    """Edges that a batch brings."""
    h, places = torch.randn(N, F), PLACES.clone()
    (ours,) = run_function(lambda h, places: torch.sparse_coo_tensor(places, NUMBERS, (N, N)) @ h, h, places)
    np.testing.assert_allclose(ours, OUTSIDE @ h, rtol=1e-5, atol=1e-6)


class Graph(nn.Module):
    """Two rounds of messages over the edges of a buffer, weighted by a sparse attribute of learnt weights."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(F, 4), nn.Linear(4, 3)
        self.weights = nn.Parameter(torch.ones(6))
        self.register_buffer("adjacency", OUTSIDE.clone())

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.sparse.mm(self.adjacency, self.one(x)).relu()
        return torch.sparse.mm(torch.sparse_coo_tensor(PLACES, self.weights, (N, N)), self.two(hidden))


def graph_job() -> dict[str, Any]:
    torch.manual_seed(0)
    x, y = torch.randn(N, F), torch.tensor([0, 1, 2, 0, 1])
    return {
        "model": Graph(),
        "loss": lambda model, epoch: nn.functional.cross_entropy(model(x), y),
        "optimizer": Adam(1e-2),
        "data": {"epoch": np.zeros(1, np.float32)},
        "batch_size": 1,
        "steps": 20,
    }


def test_the_curve_is_that_of_eager_pytorch() -> None:
    job = graph_job()
    captured = capture_training(**job)
    with Engine(captured.program, threads=1).start(captured.state, captured.constants, step=0) as session:
        session.advance(20)
        losses = dict(zip(captured.state_names, session.state(), strict=True))["record.loss"]
    theirs = train_eagerly(**job)[0]
    assert theirs[-1] < 0.9 * theirs[0]
    np.testing.assert_allclose(losses, theirs, rtol=1e-3)
    assert not any("adjacency" in name for name in (*captured.state_names, *captured.constant_names))


def test_a_model_with_a_sparse_buffer_has_its_weights_back(tmp_path) -> None:
    run = ts.TrainingJob(**graph_job() | {"optimizer": ts.optim.Adam(lr=1e-2)}).run(tmp_path / "run")
    trained = run.model()
    assert torch.equal(trained.adjacency.to_dense(), OUTSIDE.to_dense())
    opened = ts.Run.open(tmp_path / "run").model(Graph())
    assert torch.equal(opened.one.weight, trained.one.weight) and not torch.equal(opened.weights, torch.ones(6))
    assert "adjacency" not in run.weights()


def test_one_tensor_from_outside_is_one_constant() -> None:
    def twice(model: nn.Module, x: Tensor) -> Tensor:
        return (OUTSIDE @ (OUTSIDE @ model(x).T)).square().sum()

    torch.manual_seed(0)
    data = {"x": np.ones((4, 2), np.float32)}
    job = {"model": nn.Linear(2, N), "loss": twice, "optimizer": Adam(1e-2), "data": data, "batch_size": 2, "steps": 2}
    captured = capture_training(**job)
    # The rows and columns of the places, and the numbers: the data, the order and the rest have other names.
    assert len([name for name in captured.constant_names if name.startswith("tensor.")]) == 2


def test_what_cannot_be_is_refused_with_what_to_write() -> None:
    x = torch.eye(N)
    with pytest.raises(CaptureError, match=r"to_sparse of a sparse tensor.*depends on data. Use the dense tensor"):
        run_function(lambda x: (x * 2).to_sparse() @ x, x)
    with pytest.raises(CaptureError, match=r"product of two sparse tensors.*make one of them dense with to_dense"):
        run_function(lambda w: (inside(w) @ OUTSIDE).to_dense(), NUMBERS)
    (ours,) = run_function(lambda w: inside(w) @ OUTSIDE.to_dense(), NUMBERS)
    np.testing.assert_allclose(ours, OUTSIDE.to_dense() @ OUTSIDE.to_dense(), rtol=1e-6)
    with pytest.raises(CaptureError, match=r"log_softmax of a sparse tensor cannot be captured at test_sp[^\n]*: @"):
        run_function(lambda w: torch.sparse.log_softmax(inside(w), 1).to_dense(), NUMBERS)
    with pytest.raises(CaptureError, match=r"mul_ of a sparse tensor .*it would change a tensor from outside the loss"):
        mine = OUTSIDE.clone()
        run_function(lambda w: mine.mul_(2.0) @ w[:5], NUMBERS)
