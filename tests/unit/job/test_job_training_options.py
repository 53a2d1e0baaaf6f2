"""Jobs with every option: their runs resume, verify, give back weights, averages and records; lies are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import tallystick as ts
from job_helpers import copy_run, flip
from tallystick.job import verify
from tallystick.spec.programs import run_step
from tallystick.spec.tensors import Tensor as Value

UNKNOWN: Any = "int8"  # of a trained parameter
YES: Any = "yes"  # is no factor


class Adapted(nn.Module):
    """A frozen layer, a batch norm, and a trained layer."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(3, 4).requires_grad_(False)
        self.norm = nn.BatchNorm1d(4)
        self.out = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(torch.relu(self.frozen(x))))


def loss(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    error = model(x)[:, 0] - y
    return (error**2).mean(), {"largest": error.abs().max()}


def training_job(**changes) -> ts.TrainingJob:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    x = rng.standard_normal((40, 3)).astype(np.float32)
    arguments = {
        "model": Adapted(),
        "loss": loss,
        "optimizer": ts.optim.AdamW(lr=0.05, clip_norm=1.0, schedule=ts.optim.warmup_cosine(6, 2)),
        "data": {"x": x, "y": x.sum(1)},
        "batch_size": 8,
        "steps": 12,
        "segment_steps": 5,
        "accumulate": 2,
        "ema": 0.9,
        "storage": ts.Storage(trained="bf16", frozen="int8", moments="bf16", rounding="stochastic"),
        "metrics": ("largest",),
    }
    return ts.TrainingJob(**{**arguments, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ts.Run:
    return training_job().run(tmp_path_factory.mktemp("options") / "run", keep_states="all")


def test_the_run_verifies(trained: ts.Run) -> None:
    report = verify(trained.folder, full=True)
    assert report.ok, report.findings


def test_the_engine_gives_the_bits_of_the_specification() -> None:
    captured = training_job().capture()
    program = captured.program
    values = [
        Value(type, array.tobytes())
        for type, array in zip(
            [*program.states, *program.constants], [*captured.state, *captured.constants], strict=True
        )
    ]
    state, constants = values[: len(program.states)], values[len(program.states) :]
    with ts.Engine(program, threads=2).start(captured.state, captured.constants, step=0) as session:
        for step in range(4):
            after = run_step(program, state, constants, step)
            state = [after[number] for number in program.next_state]
            session.advance(1)
            for name, mine, theirs in zip(captured.state_names, session.state(), state, strict=True):
                assert mine.tobytes() == bytes(theirs.data), f"{name} after step {step}"


def test_an_interrupted_run_ends_with_the_same_roots(trained: ts.Run, tmp_path: Path) -> None:
    """The interruption lies between two batches of one update: their sum is part of the state."""

    class Stop(Exception):
        pass

    def interrupt(progress: ts.Progress) -> None:
        if progress.phase == "run" and progress.segment == 1:
            raise Stop

    with pytest.raises(Stop):
        training_job().run(tmp_path / "run", progress=interrupt)
    again = training_job().run(tmp_path / "run")
    assert again.start_step == 5
    assert again.receipt.roots == trained.receipt.roots


def test_weights_come_back_as_the_model_saw_them(trained: ts.Run) -> None:
    job = training_job()
    model = trained.model()
    for name, before in job.model.named_parameters():
        after = dict(model.named_parameters())[name]
        assert after.dtype == torch.float32
        if name == "frozen.weight":
            scale = before.abs().amax(1, keepdim=True) / 127
            assert torch.equal(after, (before / scale).round() * scale)
        elif name == "frozen.bias":
            assert torch.equal(after, before)
        else:
            assert not torch.equal(after, before) and torch.equal(after, after.bfloat16().float())
    assert model.norm.num_batches_tracked == 12, "buffers move with every batch"
    stored = load_file(trained.folder / "model.safetensors")
    assert stored["frozen.weight"].dtype == torch.int8 and stored["out.weight"].dtype == torch.bfloat16
    assert stored["frozen.weight_scale"].shape == (4, 1)


def test_averages_come_back(trained: ts.Run, tmp_path: Path) -> None:
    average, last = trained.model(ema=True), trained.model()
    assert np.array_equal(trained.state()["ema.out.weight"], average.out.weight.detach().numpy())
    assert not torch.equal(average.out.weight, last.out.weight)
    assert torch.equal(average.norm.running_mean, last.norm.running_mean)
    assert torch.equal(average.frozen.weight, last.frozen.weight)
    plain = training_job(ema=None, steps=2).run(tmp_path / "plain")
    with pytest.raises(ts.JobError, match=r"keeps no averages .*ema=0\.999"):
        plain.model(ema=True)


def test_records_hold_every_step(trained: ts.Run) -> None:
    assert list(trained.records) == ["loss", "largest"]
    assert all(record.shape == (12,) and (record > 0).all() for record in trained.records.values())
    assert trained.losses is not None and np.array_equal(trained.records["loss"], trained.losses)
    assert (trained.records["largest"] ** 2 >= trained.records["loss"] * 0.999).all()


@pytest.mark.parametrize(
    "slot", ["ema.out.weight", "gradient.out.weight", "record.largest", "optimizer.exp_avg_sq.out.weight"]
)
def test_a_flip_in_any_of_its_slots_is_named(trained: ts.Run, tmp_path: Path, slot: str) -> None:
    """In the state after segment 1, where every slot holds something."""
    folder = copy_run(trained.folder, tmp_path / "run")
    facts = trained.manifest.state
    number = trained.manifest.slot(slot)
    assert number is not None
    place = 32 * len(facts) + sum(fact.type.nbytes for fact in facts[:number]) + 1
    root = trained.receipt.roots[0]
    (path,) = [path for path in (folder / "states").iterdir() if root in path.name]
    flip(path, place)
    found = verify(folder, full=True).findings
    assert [finding.slot for finding in found] == [slot]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 13}, r"accumulate=2 of them make one update: the last 1 .* steps=14 or steps=12"),
        ({"accumulate": 0}, "accumulate must be a whole number from 1"),
        ({"ema": 1.0}, "decay must be a number at least 0 and below 1"),
        ({"ema": True}, r"ema is a decay such as 0\.999"),
        ({"storage": "bf16"}, r"storage is a ts\.Storage"),
        ({"metrics": "largest"}, r'metrics=\("accuracy",\)'),
        ({"metrics": ("loss",)}, "loss is recorded anyway"),
        ({"metrics": ("largest", "accuracy")}, "the loss returned no accuracy"),
        ({"metrics": ()}, "the loss returned 'largest', too"),
        ({"optimizer": torch.optim.SGD(Adapted().parameters(), 0.1)}, r"describe it with ts\.optim"),
        ({"model": Adapted().bfloat16()}, r"Convert the model with \.float\(\); .*ts\.Storage\(trained='bf16'\)"),
        ({"optimizer": ts.optim.SGD(decay=lambda name, p: YES)}, "decay returned 'yes' for norm.weight"),
        ({"optimizer": ts.optim.SGD(lr_scale=lambda name, p: -1.0)}, r"lr_scale returned -1\.0 for norm.weight"),
        ({"optimizer": ts.optim.Muon(matrices=lambda name, p: True)}, "Muon moves matrices, and norm.weight has"),
    ],
)
def test_misuse_is_refused_in_words(changes: dict, words: str) -> None:
    with pytest.raises(ts.CaptureError, match=words):
        training_job(**changes).capture()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ts.Storage(trained=UNKNOWN), "trained='int8': use None"),
        (lambda: ts.Storage(master=True), "a master copy belongs to"),
        (lambda: ts.Storage(rounding="stochastic"), "nothing is rounded stochastically"),
        (lambda: ts.Storage(trained="f16", rounding="stochastic"), "stochastic rounding is for bf16"),
        (lambda: ts.optim.SGD(clip_norm=1.0, clip_value=1.0), "give one of them"),
        (lambda: ts.optim.Muon(rest=ts.optim.SGD(clip_norm=1.0)), "give clip_norm or clip_value to Muon"),
        (lambda: ts.optim.Adafactor(d=0.5), "d must be a number at least 1"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused_at_once(make, words: str) -> None:
    with pytest.raises(ts.CaptureError, match=words):
        make()


def test_a_weight_beyond_f16_is_named() -> None:
    model = Adapted()
    with torch.no_grad():
        model.out.weight[0, 2] = 1e5
    job = training_job(model=model, storage=ts.Storage(trained="f16"))
    with pytest.raises(ts.CaptureError, match=r"model.out.weight\[0, 2\] is 100000.0, beyond f16: use bf16"):
        job.capture()
