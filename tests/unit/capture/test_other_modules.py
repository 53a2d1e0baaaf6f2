"""Modules beside the model belong to the job: their parameters are trained, their buffers are carried on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import tallystick as ts
from side_by_side import BATCH, Setup, assert_same, points, train_captured
from tallystick.errors import CaptureError, JobError

DATA = points()


class Centres(nn.Module):
    """Logits by the distance to learned centres, after subtracting a running mean."""

    def __init__(self, running: bool = False) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(3, 4))
        self.register_buffer("running", torch.zeros(4))
        self.moves = running

    def forward(self, features: Tensor, y: Tensor) -> Tensor:
        if self.moves:
            features = features - self.running
            with torch.no_grad():
                self.running.mul_(0.9).add_(features.mean(0), alpha=0.1)
        return F.cross_entropy(4 * F.normalize(features, dim=1) @ F.normalize(self.centres, dim=1).T, y)


def closed_over(running: bool = False) -> Setup:
    torch.manual_seed(0)
    model, criterion = nn.Linear(6, 4), Centres(running)
    return Setup(model, lambda model, x, y: criterion(model(x), y), {"criterion": criterion})


def test_parameters_of_a_criterion_are_trained() -> None:
    assert_same(closed_over, DATA)


def test_buffers_of_a_criterion_are_carried_on() -> None:
    found = assert_same(lambda: closed_over(running=True), DATA)
    assert np.abs(found["loss.criterion.running"]).max() > 0.1


def test_options_of_the_optimizer_reach_them() -> None:
    setup = closed_over()
    decayed: list[str] = []

    def decay(name: str, p: Tensor) -> float:
        decayed.append(name)
        return 0.0

    found = train_captured(setup, DATA, optimizer=ts.optim.AdamW(1e-2, decay=decay), ema=0.9)
    assert "criterion.centres" in decayed and "optimizer.exp_avg.criterion.centres" in found
    assert "ema.criterion.centres" in found


class FrozenTeacher(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Linear(6, 3)
        teacher = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).requires_grad_(False)
        object.__setattr__(self, "teacher", teacher)  # hidden from parameters()

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            soft = self.teacher(x).softmax(-1)
        return F.kl_div(self.student(x).log_softmax(-1), soft, reduction="batchmean")


def test_a_hidden_teacher_in_training_mode_moves_its_statistics() -> None:
    def make() -> Setup:
        torch.manual_seed(0)
        model = FrozenTeacher()
        return Setup(model, lambda model, x, y: model(x), {"teacher": model.teacher})

    found = assert_same(make, DATA)
    assert found["loss.teacher.1.num_batches_tracked"] == 20


def test_a_closed_over_teacher_follows_by_data() -> None:
    def make() -> Setup:
        torch.manual_seed(0)
        model, teacher = nn.Linear(6, 3), nn.Linear(6, 3).requires_grad_(False)

        def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            with torch.no_grad():
                for t, p in zip(teacher.parameters(), model.parameters(), strict=True):
                    t.data = 0.9 * t.data + 0.1 * p.data
            return F.mse_loss(model(x), teacher(x)) + F.cross_entropy(model(x), y)

        return Setup(model, loss, {"teacher": teacher})

    assert_same(make, DATA)


def test_a_loss_may_be_a_module_itself() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log_scale = nn.Parameter(torch.zeros(()))

        def forward(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(model(x), y) * (-self.log_scale).exp() + self.log_scale

    torch.manual_seed(0)
    found = train_captured(Setup(nn.Linear(6, 3), Weighted()), DATA)
    assert abs(float(found["loss.log_scale"])) > 1e-3


def test_a_module_that_is_reached_but_not_used_changes_nothing() -> None:
    torch.manual_seed(0)
    model, spare = nn.Linear(6, 3), nn.Linear(6, 3).double()

    def loss(model: nn.Module, x: Tensor, y: Tensor, use: bool = False) -> Tensor:
        return F.cross_entropy(spare(x) if use else model(x), y)

    found = train_captured(Setup(model, loss), DATA)
    assert not any(name.startswith("loss.") for name in found)


def test_weights_of_a_loss_are_constants() -> None:
    torch.manual_seed(0)
    model, criterion = nn.Linear(6, 3), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]))
    found = train_captured(Setup(model, lambda model, x, y: criterion(model(x), y)), DATA)
    assert found["loss.criterion.weight"].tolist() == [1.0, 2.0, 0.5]


def test_a_parameter_that_no_module_holds_is_refused_and_the_advice_works() -> None:
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    scale = torch.ones(3, requires_grad=True)
    with pytest.raises(CaptureError, match=r"gradient of scale.*nn\.Parameter.*\.detach\(\)ed"):
        train_captured(Setup(model, lambda model, x, y: F.cross_entropy(model(x) * scale, y)), DATA)
    held = nn.ParameterDict({"scale": nn.Parameter(torch.ones(3))})
    found = train_captured(Setup(model, lambda model, x, y: F.cross_entropy(model(x) * held["scale"], y)), DATA)
    assert np.abs(found["loss.held.scale"] - 1.0).max() > 1e-3
    train_captured(Setup(model, lambda model, x, y: F.cross_entropy(model(x) * scale.detach(), y)), DATA)


def test_a_run_gives_back_other_modules(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, criterion = nn.Linear(6, 4), Centres()
    job = ts.TrainingJob(
        model=model,
        loss=lambda model, x, y: criterion(model(x), y),
        optimizer=ts.optim.SGD(0.1),
        data=DATA,
        batch_size=BATCH,
        steps=5,
    )
    run = job.run(tmp_path / "run")
    trained = run.other_module("criterion")
    assert torch.equal(trained.centres, torch.from_numpy(np.array(run.state()["loss.criterion.centres"])))
    assert not torch.equal(trained.centres, criterion.centres)
    again = ts.Run.open(tmp_path / "run")
    assert torch.equal(again.other_module("criterion", Centres()).centres, trained.centres)
    with pytest.raises(JobError, match="holds no code"):
        again.other_module("criterion")
    with pytest.raises(JobError, match=r"no module 'critic' with tensors\. It uses criterion"):
        run.other_module("critic")


class Listed(nn.Module):
    """Holds a layer in a plain list, where ``parameters()`` does not look."""

    def __init__(self, frozen: bool, registered: bool = False) -> None:
        super().__init__()
        layers = [nn.Linear(6, 6).requires_grad_(not frozen)]
        self.layers = nn.ModuleList(layers) if registered else layers
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers[0](x))


def test_trained_parameters_that_the_model_hides_are_refused_and_the_advice_works() -> None:
    def make(**kind: bool) -> Setup:
        torch.manual_seed(0)
        return Setup(Listed(**kind), lambda model, x, y: F.cross_entropy(model(x), y))

    with pytest.raises(
        CaptureError, match=r"layers\[0\]\.\w+ gets a gradient.*nn\.ModuleList.*requires_grad_\(False\)"
    ):
        train_captured(make(frozen=False), DATA)
    assert_same(lambda: make(frozen=True), DATA)
    assert_same(lambda: make(frozen=False, registered=True), DATA)
