"""Training jobs: from a torch module to a run and back to a torch module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_model
from torch import nn

import tallystick as ts
from tallystick.capture.weights import load_weights


class Tied(nn.Module):
    """A frozen layer, a buffer of integers, a batch norm, and two names for one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(3, 4).requires_grad_(False)
        self.norm = nn.BatchNorm1d(4)
        self.inner = nn.Linear(4, 4)
        self.again = nn.Linear(4, 4)
        self.again.weight = self.inner.weight
        self.out = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.again(torch.relu(self.inner(self.norm(self.frozen(x))))))


def loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return ((model(x)[:, 0] - y) ** 2).mean()


def training_job(**changes) -> ts.TrainingJob:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    x = rng.standard_normal((40, 3)).astype(np.float32)
    arguments = {
        "model": Tied(),
        "loss": loss,
        "optimizer": ts.optim.SGD(lr=0.05),
        "data": {"x": x, "y": x.sum(1)},
        "batch_size": 8,
        "steps": 12,
        "segment_steps": 5,
    }
    return ts.TrainingJob(**{**arguments, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ts.TrainingJob, ts.Run]:
    job = training_job()
    return job, job.run(tmp_path_factory.mktemp("training") / "run")


def same_weights(mine: nn.Module, theirs: nn.Module) -> bool:
    pairs = zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_capture_tells_its_stages_to_the_run_it_is_made_for(tmp_path: Path) -> None:
    phases: list[str] = []
    job = training_job(steps=2)
    job.run(tmp_path / "first", progress=lambda told: phases.append(told.phase))
    assert list(dict.fromkeys(phases))[:6] == ["capture", "trace", "write out", "lower", "fuse", "write"]
    phases.clear()
    training_job(steps=2).capture()
    job.run(tmp_path / "second", progress=lambda told: phases.append(told.phase))
    assert list(dict.fromkeys(phases))[:2] == ["capture", "write"], "captured already, and deaf to other captures"


def test_the_model_is_a_trained_copy(trained: tuple[ts.TrainingJob, ts.Run]) -> None:
    job, run = trained
    model = run.model()
    assert model is not job.model
    assert same_weights(job.model, training_job().model), "the user's own module is as it was"
    assert not torch.equal(model.inner.weight, job.model.inner.weight)
    assert model.again.weight is model.inner.weight
    assert torch.equal(model.frozen.weight, job.model.frozen.weight)
    assert model.norm.num_batches_tracked.dtype == torch.int64 and model.norm.num_batches_tracked == 12


def test_the_module_of_another_process_takes_the_weights(trained: tuple[ts.TrainingJob, ts.Run]) -> None:
    _, run = trained
    torch.manual_seed(1)
    module = Tied()
    assert ts.Run.open(run.folder).model(module) is module
    assert same_weights(module, run.model())


def test_the_model_file_loads_with_safetensors(trained: tuple[ts.TrainingJob, ts.Run]) -> None:
    _, run = trained
    torch.manual_seed(1)
    module = Tied()
    missing, unexpected = load_model(module, run.folder / "model.safetensors")
    assert not missing and not unexpected
    assert same_weights(module, run.model())


def test_weights_of_another_model_are_refused_and_change_nothing(trained: tuple[ts.TrainingJob, ts.Run]) -> None:
    _, run = trained
    module = nn.Linear(3, 4)
    before = module.weight.clone()
    with pytest.raises(ts.JobError, match="belong to another model: the run has no bias"):
        run.model(module)
    weights = run.weights()
    with pytest.raises(ts.JobError, match="the module has no more"):
        load_weights(Tied(), {**weights, "more": np.zeros(1, np.float32)})
    with pytest.raises(ts.JobError, match=r"out.bias has shape \(1,\) in the module and \(2,\) in the run"):
        load_weights(Tied(), {**weights, "out.bias": np.zeros(2, np.float32)})
    assert torch.equal(module.weight, before)


def test_bfloat16_weights_are_read_from_their_bits() -> None:
    module = nn.Linear(2, 1, bias=False).bfloat16()
    load_weights(module, {"weight": np.array([[0x3F80, 0xC000]], np.uint16)})
    assert module.weight.tolist() == [[1.0, -2.0]]


def test_the_name_is_the_classes_unless_it_is_given(trained: tuple[ts.TrainingJob, ts.Run]) -> None:
    job, run = trained
    assert job.title == run.manifest.name == "tied"
    assert training_job(name="other").title == "other"
    assert job.capture() is job.capture()


def test_losses_are_recorded_for_every_step(trained: tuple[ts.TrainingJob, ts.Run]) -> None:
    _, run = trained
    assert run.losses is not None and run.losses.shape == (12,)
    assert np.isfinite(run.losses).all() and run.losses[-1] < run.losses[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps=0"),
        ({"segment_steps": -1}, "segment_steps=-1"),
        ({"name": "a\nb"}, "name="),
    ],
)
def test_numbers_that_cannot_be_are_refused_at_once(changes: dict, words: str) -> None:
    with pytest.raises(ts.JobError, match=words):
        training_job(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"batch_size": 41}, "batch_size is 41, but the data has only 40 rows"), ({"batch_size": 0}, "batch_size")],
)
def test_what_capture_refuses_touches_no_folder(tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(ts.CaptureError, match=words):
        training_job(**changes).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
