"""Resuming where the model has other weights than when the run began: refused with advice, or from the stored start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tallystick as ts
from job_helpers import copy_run, tree


def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return (model(x)[:, 0] - y).square().mean()


def seeded_job(model_seed: int = 0, data_seed: int = 0, frozen: bool = True, **changes: Any) -> ts.TrainingJob:
    torch.manual_seed(model_seed)
    x = np.random.default_rng(data_seed).standard_normal((40, 3), dtype=np.float32)
    first = nn.Linear(3, 4).requires_grad_(not frozen)
    arguments: dict[str, Any] = {
        "model": nn.Sequential(first, nn.Tanh(), nn.Linear(4, 1)),
        "loss": loss,
        "optimizer": ts.optim.Adam(lr=0.01),
        "data": {"x": x, "y": x.sum(1)},
        "batch_size": 8,
        "steps": 12,
        "segment_steps": 4,
    }
    return ts.TrainingJob(**{**arguments, **changes})


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> ts.Run:
    return seeded_job().run(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def interrupted(uninterrupted: ts.Run, tmp_path: Path) -> Path:
    """A folder with one of three segments done."""
    folder = copy_run(uninterrupted.folder, tmp_path / "run")
    (folder / "receipt.json").unlink()
    journal = (folder / "journal").read_text().splitlines(keepends=True)
    (folder / "journal").write_text(journal[0])
    return folder


@pytest.mark.parametrize("frozen", [True, False])
def test_other_weights_are_refused_with_advice_that_works(frozen: bool, tmp_path: Path) -> None:
    """Of trained layers, which are the start state, and of frozen ones, which are constants."""
    begun = seeded_job(frozen=frozen).run(tmp_path / "run")
    before = tree(begun.folder)
    with pytest.raises(ts.JobError, match=r"with another start.*torch\.manual_seed\(0\) before it is built") as said:
        seeded_job(model_seed=1, frozen=frozen).run(begun.folder)
    assert "resume='stored'" in str(said.value) and "--resume-stored" in str(said.value)
    assert "another folder" in str(said.value)
    assert tree(begun.folder) == before
    # THE ADVICE, ALL OF IT
    assert seeded_job(frozen=frozen).run(begun.folder).start_step == 12
    stored = seeded_job(model_seed=1, frozen=frozen).run(begun.folder, resume="stored")
    assert stored.start_step == 12 and stored.receipt == begun.receipt
    anew = seeded_job(model_seed=1, frozen=frozen).run(begun.folder, resume=False)
    assert anew.start_step == 0 and anew.receipt.roots != begun.receipt.roots


@pytest.mark.parametrize("model_seed", [0, 1])
def test_a_run_goes_on_from_the_stored_start(interrupted: Path, uninterrupted: ts.Run, model_seed: int) -> None:
    run = seeded_job(model_seed).run(interrupted, resume="stored")
    assert run.start_step == 4
    assert run.receipt.roots == uninterrupted.receipt.roots
    assert run.manifest == uninterrupted.manifest
    for mine, theirs in zip(run.model().parameters(), uninterrupted.model().parameters(), strict=True):
        assert torch.equal(mine, theirs)
    report = ts.verify(interrupted, full=True)
    assert report.ok, report.findings


def test_a_run_that_lost_its_journal_begins_at_the_stored_start(interrupted: Path, uninterrupted: ts.Run) -> None:
    (interrupted / "journal").unlink()
    run = seeded_job(model_seed=1).run(interrupted, resume="stored")
    assert run.start_step == 0
    assert run.receipt.roots == uninterrupted.receipt.roots


def test_an_empty_folder_holds_no_start(tmp_path: Path, uninterrupted: ts.Run) -> None:
    assert seeded_job().run(tmp_path / "run", resume="stored").receipt.roots == uninterrupted.receipt.roots


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data_seed": 1}, "data and other constants"),
        ({"steps": 8}, "number of steps"),
        ({"optimizer": ts.optim.Adam(lr=0.02)}, "data and other constants"),
        ({"loss": lambda model, x, y: loss(model, x, y) * 2}, "program"),
        ({"seed": 1}, "data and other constants"),
        ({"name": "other"}, "name"),
    ],
)
@pytest.mark.parametrize("model_seed", [0, 1])
def test_nothing_but_weights_is_taken_from_the_folder(
    interrupted: Path, changes: dict[str, Any], words: str, model_seed: int
) -> None:
    before = tree(interrupted)
    with pytest.raises(ts.JobError, match=f"holds another job: they differ in .*{words}"):
        seeded_job(model_seed, **changes).run(interrupted, resume="stored")
    assert tree(interrupted) == before


def test_a_damaged_start_is_refused(interrupted: Path, uninterrupted: ts.Run) -> None:
    (interrupted / "states" / f"{uninterrupted.manifest.start_root}.state").unlink()
    with pytest.raises(ts.IntegrityError, match="is missing"):
        seeded_job(model_seed=1).run(interrupted, resume="stored")
    assert seeded_job().run(interrupted, resume="stored").receipt.roots == uninterrupted.receipt.roots, "it heals"


@pytest.mark.parametrize("resume", ["Stored", 1, None])
def test_other_words_are_refused(resume: Any, tmp_path: Path) -> None:
    with pytest.raises(ts.JobError, match=r"give True .* False .* 'stored'"):
        seeded_job().run(tmp_path / "run", resume=resume)
