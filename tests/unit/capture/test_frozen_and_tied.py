"""Which parameters are state and which are constants, and how modules' own modes count."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from eager_training import EagerRun, GraphRunner
from tallystick.capture.inputs import Role
from tallystick.capture.optimizers.adam import AdamW
from tallystick.capture.training import trace_training


class Tied(nn.Module):
    """An embedding that is also the output layer, a batch norm, and a layer in between."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(9, 6)
        self.norm = nn.BatchNorm1d(6)
        self.middle = nn.Linear(6, 6)
        self.head = nn.Linear(6, 9, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.middle(self.norm(self.tokens(ids)))))


def job_of(model: nn.Module) -> dict:
    ids = np.random.default_rng(0).integers(0, 9, 40)
    return {
        "model": model,
        "loss": lambda model, ids: F.cross_entropy(model(ids), (ids * 5 + 2) % 9),
        "optimizer": AdamW(3e-2, weight_decay=0.1, decay=lambda name, p: p.ndim > 1),
        "data": {"ids": ids},
        "batch_size": 10,
        "steps": 100,
        "accumulate": 2,
    }


def slots(model: nn.Module) -> dict[str, Role]:
    inputs = trace_training(**job_of(model)).inputs
    return {made.name[6:]: made.role for made in inputs if made.name.startswith("model.")}


def assert_same_curve(model: nn.Module) -> GraphRunner:
    job = job_of(model)
    runner = GraphRunner(trace_training(**job))
    runner.advance(100)
    np.testing.assert_allclose(runner.losses, EagerRun(**job).losses, rtol=1e-4)
    return runner


def test_tied_parameters_are_one_slot_and_gather_both_gradients() -> None:
    torch.manual_seed(0)
    found = slots(Tied())
    assert found["tokens.weight"] is Role.STATE and "head.weight" not in found
    assert_same_curve(Tied())


def test_frozen_tied_parameters_are_one_constant() -> None:
    torch.manual_seed(0)
    model = Tied()
    model.head.weight.requires_grad_(False)
    found = slots(model)
    assert found["tokens.weight"] is Role.CONSTANT and found["middle.weight"] is Role.STATE
    start = model.tokens.weight.detach().clone()
    runner = assert_same_curve(model)
    assert torch.equal(runner.values["model.tokens.weight"], start)
    names = {made.name for made in runner.inputs}
    assert not names & {"optimizer.exp_avg.tokens.weight", "gradient.tokens.weight"}


def test_requires_grad_counts_when_a_job_is_captured() -> None:
    model = Tied()
    model.middle.requires_grad_(False)
    assert slots(model)["middle.weight"] is Role.CONSTANT
    model.middle.requires_grad_(True)
    assert slots(model)["middle.weight"] is Role.STATE


def test_a_module_in_evaluation_mode_stays_so_inside_a_model_in_training_mode() -> None:
    """A frozen batch norm: its statistics are used and not moved."""
    torch.manual_seed(0)
    model = Tied()
    model.norm.requires_grad_(False)
    assert model.norm.running_mean is not None
    model.norm.running_mean += 0.3
    model.norm.eval()
    found = slots(model)
    frozen = ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked")
    assert all(found[name] is Role.CONSTANT for name in frozen)
    assert not model.norm.training and model.training, "capturing changes no mode"
    model.train()
    assert slots(model)["norm.running_mean"] is Role.STATE
