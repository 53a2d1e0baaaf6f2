"""A finished run goes on: the same bits as one longer run, one chain of receipts, and lies about the seam are found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import tallystick as ts
from eager_training import EagerRun
from job_helpers import copy_run, flip, tree
from tallystick.job import continuation
from tallystick.job.replay import Replay

DONE, STEPS = 12, 20


class Net(nn.Module):
    """Dropout draws by the step's number, a batch norm counts, one layer is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(6, 8).requires_grad_(False)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(torch.relu(self.norm(self.frozen(x)))))


def loss(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    logits = model(x)
    return F.cross_entropy(logits, y), {"accuracy": (logits.argmax(1) == y).float().mean()}


def long_job(steps: int = STEPS, model_seed: int = 0, **changes: Any) -> ts.TrainingJob:
    """A job with everything that counts steps or updates. Batches cross the ends of epochs."""
    torch.manual_seed(model_seed)
    x = np.random.default_rng(0).standard_normal((40, 6), dtype=np.float32)
    arguments: dict[str, Any] = {
        "name": "long",
        "model": Net(),
        "loss": loss,
        "optimizer": ts.optim.AdamW(lr=1e-2, schedule=ts.optim.warmup_cosine(10, 4)),
        "data": {"x": x, "y": (x[:, 0] > 0).astype(np.int64)},
        "batch_size": 7,
        "steps": steps,
        "segment_steps": 4,
        "accumulate": 2,
        "ema": ts.optim.EMA(0.9, warmup=True),
        "storage": ts.Storage(trained="bf16", moments="bf16", rounding="stochastic"),
        "metrics": ("accuracy",),
    }
    return ts.TrainingJob(**{**arguments, **changes})


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> ts.Run:
    return long_job(DONE).run(tmp_path_factory.mktemp("first") / "run", keep_states="all")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ts.Run:
    return long_job().run(tmp_path_factory.mktemp("whole") / "run", keep_states="all")


@pytest.fixture(scope="module")
def second(first: ts.Run, tmp_path_factory: pytest.TempPathFactory) -> ts.Run:
    folder = tmp_path_factory.mktemp("second") / "run"
    return long_job().run(folder, continue_from=first, keep_states="all")


# THE SAME BITS


def test_it_ends_in_the_state_of_one_longer_run(first: ts.Run, second: ts.Run, whole: ts.Run) -> None:
    assert (second.steps, second.start_step, second.manifest.steps_before) == (STEPS - DONE, 0, DONE)
    assert second.receipt.roots == whole.receipt.roots[DONE // 4 :]
    assert second.receipt.roots[0] != second.receipt.roots[-1] != first.receipt.roots[-1]
    for name, array in whole.records.items():
        assert array.shape == (STEPS,) and (second.records[name] == array).all()
    for mine, theirs in zip(second.model().parameters(), whole.model().parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_every_kind_of_draw_and_table_counts_on(tmp_path: Path) -> None:
    """One option at a time, so that none hides another; segments need not fit."""
    options: dict[str, dict[str, Any]] = {
        "plain": {"optimizer": ts.optim.SGD(lr=0.1, momentum=0.9)},
        "adam": {"optimizer": ts.optim.Adam(lr=1e-2)},
        "warmup": {"optimizer": ts.optim.AdamW(lr=1e-2, schedule=ts.optim.warmup_constant(15))},
        "master": {"storage": ts.Storage(trained="bf16", master=True)},
        "int8": {"storage": ts.Storage(frozen="int8")},
        "accumulate": {"accumulate": 3},
    }
    for name, option in options.items():
        alone = {"accumulate": 1, "ema": None, "storage": None, "segment_steps": 5, **option}
        begun = long_job(6, **alone).run(tmp_path / name / "begun")
        ended = long_job(12, **alone).run(tmp_path / name / "ended", continue_from=begun)
        longer = long_job(12, **alone).run(tmp_path / name / "longer")
        assert ended.receipt.roots[-1] == longer.receipt.roots[-1], name


def test_a_run_that_went_on_goes_on_again(second: ts.Run, tmp_path: Path) -> None:
    third = long_job(26).run(tmp_path / "third", continue_from=second.folder)
    assert third.receipt.roots[-1] == long_job(26).run(tmp_path / "whole").receipt.roots[-1]
    assert (third.manifest.steps_before, third.steps) == (STEPS, 6)
    report = ts.verify(third.folder, full=True)
    assert report.ok, report.findings
    assert [run.segments for run in report.runs] == [2, 2, 3]


def test_eager_training_goes_on_the_same_way(tmp_path: Path) -> None:
    options: dict[str, Any] = {"storage": None, "metrics": ("accuracy",), "accumulate": 2, "ema": None}
    job = long_job(**options, model=nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)))
    begun = replace(job, steps=DONE).run(tmp_path / "begun")
    ended = job.run(tmp_path / "ended", continue_from=begun)
    eager = EagerRun(
        job.model, loss, job.optimizer, dict(job.data), batch_size=7, steps=STEPS, accumulate=2, metrics=("accuracy",)
    )
    np.testing.assert_allclose(ended.losses, eager.losses, rtol=1e-3)


def test_other_data_and_another_learning_rate(first: ts.Run, tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((30, 6), dtype=np.float32)
    data = {"x": x, "y": (x[:, 1] > 0).astype(np.int64)}
    changed = long_job(data=data, batch_size=9, optimizer=ts.optim.AdamW(lr=1e-3))
    run = changed.run(tmp_path / "run", continue_from=first)
    assert (run.losses[:DONE] == first.losses).all()  # type: ignore[index]
    report = ts.verify(run.folder, full=True)
    assert report.ok, report.findings


def test_weights_are_those_of_the_run_whatever_the_model_holds(first: ts.Run, second: ts.Run, tmp_path: Path) -> None:
    """Trained and frozen ones: a model that was not seeded goes on as well."""
    run = long_job(model_seed=5).run(tmp_path / "run", continue_from=first)
    assert run.receipt.roots == second.receipt.roots
    assert run.manifest == second.manifest
    assert torch.equal(run.model().frozen.weight, first.model().frozen.weight)


# FOLDERS


def held(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but its lock."""
    return {name: data for name, data in tree(folder).items() if name != ".lock"}


def test_the_folder_alone_is_enough(first: ts.Run, second: ts.Run, tmp_path: Path) -> None:
    copied = copy_run(second.folder, tmp_path / "copied")
    assert tree(copied / "before") == held(first.folder)
    report = ts.verify(copied, sample=0.5)
    assert report.ok, report.findings
    job = ts.Job.open(copied)
    assert job.manifest == second.manifest
    assert job.run(tmp_path / "again").receipt.roots == second.receipt.roots


def test_large_files_are_held_once(first: ts.Run, second: ts.Run) -> None:
    blobs = [path for name in ("states", "constants") for path in (first.folder / name).iterdir()]
    assert len(blobs) > 5
    for path in blobs:
        assert path.samefile(second.folder / "before" / path.parent.name / path.name)
    shared = [path for path in (second.folder / "constants").iterdir() if path.stat().st_nlink >= 3]
    assert len(shared) >= 2, "the data and the order of its rows"


def test_where_files_cannot_be_shared_they_are_copied(
    first: ts.Run, second: ts.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    run = long_job().run(tmp_path / "run", continue_from=first, keep_states="all")
    assert tree(run.folder / "before") == held(first.folder)
    assert run.receipt.roots == second.receipt.roots
    assert not any(path.stat().st_nlink > 1 for path in run.folder.rglob("*.state"))


@pytest.mark.parametrize("begun", ["run", "folder", "before"])
def test_an_interrupted_one_resumes(first: ts.Run, second: ts.Run, tmp_path: Path, begun: str) -> None:
    class Stop(Exception):
        pass

    def interrupt(progress: ts.Progress) -> None:
        if progress.phase == "run" and progress.segment == 1:
            raise Stop

    with pytest.raises(Stop):
        long_job().run(tmp_path / "run", continue_from=first, progress=interrupt)
    where = {"run": first, "folder": str(first.folder), "before": tmp_path / "run" / "before"}[begun]
    run = long_job().run(tmp_path / "run", continue_from=where)
    assert run.start_step == 4
    assert run.receipt.roots == second.receipt.roots


def test_one_that_was_killed_while_files_were_shared_heals(first: ts.Run, second: ts.Run, tmp_path: Path) -> None:
    before = tmp_path / "run" / "before"
    shutil.copytree(first.folder, before)
    (before / "receipt.json").unlink()
    (before / "manifest.json").unlink()
    next((before / "states").iterdir()).unlink()
    run = long_job().run(tmp_path / "run", continue_from=first)
    assert held(before) == held(first.folder)
    assert run.receipt.roots == second.receipt.roots


def test_starting_anew_from_another_run_replaces_the_one_before(second: ts.Run, tmp_path: Path) -> None:
    folder = copy_run(second.folder, tmp_path / "run")
    other = long_job(8, seed=3).run(tmp_path / "other")
    job = long_job(12, seed=3)
    kept = tree(folder)
    with pytest.raises(ts.JobError, match="holds another job"):
        job.run(folder, continue_from=other)
    assert tree(folder) == kept, "what is refused is not touched"
    job.run(folder, continue_from=other, resume=False)
    assert held(folder / "before") == held(other.folder)
    report = ts.verify(folder, full=True)
    assert report.ok, report.findings


# WHAT CANNOT GO ON


def test_the_same_folder_with_more_steps_says_how(first: ts.Run, tmp_path: Path) -> None:
    with pytest.raises(ts.JobError, match=r"continue_from=.*--continue-from") as said:
        long_job().run(first.folder)
    assert str(first.folder) in str(said.value)
    with pytest.raises(ts.JobError, match="a folder of its own"):
        long_job().run(first.folder, continue_from=first)


class Deeper(Net):
    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(2, 2)


def unfrozen() -> Net:
    model = Net()
    model.frozen.requires_grad_(True)
    return model


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": DONE}, f"give more than {DONE}"),
        ({"model": Deeper()}, r"the run has no model\.more\.weight"),
        ({"model": unfrozen()}, "the run has no optimizer.*frozen in the other is model.frozen.weight"),
        ({"ema": None}, r"this job has no ema\.norm\.weight"),
        ({"metrics": (), "loss": lambda m, x, y: loss(m, x, y)[0]}, r"this job has no record\.accuracy"),
        ({"optimizer": ts.optim.SGD(lr=0.1)}, r"this job has no optimizer\.exp_avg"),
        ({"storage": ts.Storage(trained="bf16")}, r"of another type or shape is optimizer\.exp_avg\.norm\.weight"),
        ({"accumulate": 4}, "keep accumulate=2"),
        ({"accumulate": 1}, "keep accumulate=2"),
    ],
)
def test_jobs_that_do_not_fit_are_told_where(first: ts.Run, tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(ts.JobError, match=words):
        long_job(**changes).run(tmp_path / "run", continue_from=first)
    assert not (tmp_path / "run").exists()


def test_only_a_finished_and_sound_training_run_can_be_gone_on_from(first: ts.Run, tmp_path: Path) -> None:
    def refused(where: Path, words: str) -> None:
        with pytest.raises(ts.TallystickError, match=words):
            long_job().run(tmp_path / "run", continue_from=where)
        assert not (tmp_path / "run").exists()

    refused(tmp_path / "nowhere", "is no finished run")
    unfinished = copy_run(first.folder, tmp_path / "unfinished")
    (unfinished / "receipt.json").unlink()
    refused(unfinished, "is no finished run.*Let it run to its end")
    captured = ts.capture_program(lambda state: state, state={"x": np.zeros(1, np.float32)})
    refused(ts.Job(captured, 1).run(tmp_path / "program").folder, "no run of a training job")
    damaged = copy_run(first.folder, tmp_path / "damaged")
    flip(damaged / "states" / f"{first.receipt.roots[-1]}.state", -1)
    refused(damaged, "changed")
    forged = copy_run(first.folder, tmp_path / "forged")
    text = (forged / "receipt.json").read_text()
    (forged / "receipt.json").write_text(text.replace(first.receipt.roots[0], first.receipt.roots[1], 1))
    refused(forged, "does not hold")


def test_a_chain_of_runs_has_an_end(second: ts.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuation, "MOST_RUNS", 2)
    with pytest.raises(ts.JobError, match="2 runs go on from each other"):
        long_job(24).run(tmp_path / "run", continue_from=second)


# VERIFICATION


def lie(first: ts.Run, folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> list[str]:
    """Findings about a run that starts from a changed state and is honest from there on."""
    job = long_job().continued(first)
    state = dict(zip(job.captured.state_names, (np.array(array) for array in job.captured.state), strict=True))
    change(state)
    captured = replace(job.captured, state=list(state.values()))
    ts.Job(captured, job.steps, 4, job.name, job.after).run(folder)
    shutil.copytree(first.folder, folder / "before")
    return [finding.message for finding in ts.verify(folder, full=True).findings]


def bump(name: str, at: int = 0) -> Callable[[dict[str, np.ndarray]], object]:
    def change(state: dict[str, np.ndarray]) -> None:
        state[name].reshape(-1)[at : at + 1].view(np.uint16 if state[name].itemsize == 2 else np.uint32)[:1] ^= 1

    return change


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("model.out.weight", 3),
        ("model.norm.num_batches_tracked", 0),
        ("optimizer.exp_avg_sq.out.bias", 1),
        ("ema.out.weight", 0),
        ("record.loss", 5),
        ("record.accuracy", DONE),
        ("record.loss", STEPS - 1),
    ],
)
def test_a_start_that_is_not_the_end_before_is_found(first: ts.Run, tmp_path: Path, name: str, at: int) -> None:
    (message,) = lie(first, tmp_path / "lie", bump(name, at))
    assert "does not start where the one it goes on from ended" in message
    assert f"{name}[" in message


def test_an_honest_start_is_believed(first: ts.Run, tmp_path: Path) -> None:
    assert lie(first, tmp_path / "truth", lambda state: None) == []


def test_a_record_of_another_length_is_no_continuation(first: ts.Run, tmp_path: Path) -> None:
    """Claiming more steps than the longer records have room for, or fewer."""
    job = long_job().continued(first)
    ts.Job(job.captured, job.steps - 4, 4, job.name, job.after).run(tmp_path / "lie")
    shutil.copytree(first.folder, tmp_path / "lie" / "before")
    messages = [finding.message for finding in ts.verify(tmp_path / "lie", full=True).findings]
    assert len(messages) == 1 and "record.loss has another type or shape" in messages[0]


def without(folder: Path) -> None:
    shutil.rmtree(folder / "before")


def another(folder: Path) -> None:
    shutil.rmtree(folder / "before")
    long_job(DONE, seed=1).run(folder / "before")


def damaged_end(folder: Path) -> None:
    root = json.loads((folder / "before" / "receipt.json").read_text())["roots"][-1]
    path = folder / "before" / "states" / f"{root}.state"
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")


def damaged_middle(folder: Path) -> None:
    root = json.loads((folder / "before" / "receipt.json").read_text())["roots"][0]
    path = folder / "before" / "states" / f"{root}.state"
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (without, "goes on from another one, which cannot be checked"),
        (another, "is about another job"),
        (damaged_end, "a state that could tell why is missing or damaged"),
        (damaged_middle, "changed after it was signed"),
    ],
)
def test_tampering_with_the_run_before_is_found(
    second: ts.Run, tmp_path: Path, tamper: Callable[[Path], None], words: str
) -> None:
    folder = copy_run(second.folder, tmp_path / "run")
    tamper(folder)
    report = ts.verify(folder, full=True)
    assert any(words in finding.message for finding in report.findings), report.findings


def test_a_wrong_loss_is_named_by_the_step_of_its_segment(second: ts.Run, tmp_path: Path) -> None:
    """Records begin with the losses of the run before; steps of segments count from 0."""
    from tallystick.job.checks import check_folder
    from tallystick.job.folder import RunFolder
    from tallystick.job.hashing import JobHasher
    from tallystick.job.locating import Difference

    folder = RunFolder(second.folder)
    found = check_folder(folder, second.receipt, JobHasher())
    replay: Any = Replay.__new__(Replay)
    replay.manifest = found.receipt.manifest
    wrong = [Difference(second.manifest.slot("record.loss") or 0, (DONE + 5,), 1, 2, 1)]
    assert replay.latest_step(wrong, 4, 7)[0] == 5
    earlier = [Difference(second.manifest.slot("record.loss") or 0, (5,), 1, 2, 1)]
    assert replay.latest_step(earlier, 4, 7)[0] == 7
