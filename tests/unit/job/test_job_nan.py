"""A loss that is NaN: the run ends and says why, or it is written down and the run goes on as PyTorch does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import tallystick as ts
from eager_training import train_eagerly
from tallystick.capture.steps.batches import shuffled_order
from tallystick.cli.run import Wishes, run_job
from tallystick.job.diagnosis import not_finite
from tallystick.spec.tensors import DType, TensorType

STEPS, BATCH, ROWS = 12, 4, 24
IGNORED = 3  # the first step whose batch has only ignored labels


def mean(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def mean_of_counted(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y, reduction="sum") / (y != -100).sum().clamp(min=1)


def ignored_labels() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, ROWS)
    y[shuffled_order(ROWS, 0)[IGNORED * BATCH : (IGNORED + 1) * BATCH]] = -100
    return {"x": rng.standard_normal((ROWS, 5), dtype=np.float32), "y": y}


def nan_job(**changes: Any) -> ts.TrainingJob:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {
        "model": nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 4)),
        "loss": mean,
        "optimizer": ts.optim.Adam(lr=1e-2),
        "data": ignored_labels(),
        "batch_size": BATCH,
        "steps": STEPS,
        "segment_steps": 2,
        "name": "nan",
    }
    return ts.TrainingJob(**{**arguments, **changes})


def said_of(job: ts.TrainingJob, folder: Path) -> str:
    with pytest.raises(ts.JobError, match="became NaN") as caught:
        job.run(folder)
    return str(caught.value)


def test_recorded_it_goes_on_as_eager_training_does(tmp_path: Path) -> None:
    job = nan_job()
    losses, state = train_eagerly(job.model, job.loss, job.optimizer, dict(job.data), batch_size=BATCH, steps=STEPS)
    run = job.run(tmp_path / "run", on_nan="record")
    assert run.losses is not None
    assert np.isnan(run.losses).nonzero()[0].tolist() == [IGNORED, IGNORED + ROWS // BATCH]
    np.testing.assert_allclose(run.losses, losses, rtol=1e-3)
    for name, weights in run.model().state_dict().items():
        np.testing.assert_allclose(weights, state[name], rtol=1e-3, atol=1e-6)
    report = ts.verify(run.folder, full=True)
    assert report.ok, report.findings


def test_stopping_tells_that_weights_stay_finite_and_both_ways_out(tmp_path: Path) -> None:
    said = said_of(nan_job(), tmp_path / "run")
    assert said.startswith(f"the loss became NaN in step {IGNORED}, but all weights are finite")
    assert "on_nan='record'" in said and "count.clamp(min=1)" in said
    # THE ADVICE, BOTH PARTS OF IT
    resumed = nan_job().run(tmp_path / "run", on_nan="record")
    assert resumed.start_step == 2, "what was done before it stopped is not done again"
    assert resumed.receipt.roots == nan_job().run(tmp_path / "whole", on_nan="record").receipt.roots
    counted = nan_job(loss=mean_of_counted).run(tmp_path / "counted")
    assert counted.losses is not None and np.isfinite(counted.losses).all()


def test_the_choice_is_no_part_of_the_job(tmp_path: Path) -> None:
    stopping, recording = nan_job(), nan_job(on_nan="record")
    assert stopping.job().manifest == recording.job().manifest
    assert recording.run(tmp_path / "run").receipt.manifest == stopping.job().manifest
    with pytest.raises(ts.JobError, match="became NaN"):
        recording.run(tmp_path / "again", on_nan="stop")


def test_lost_weights_are_named(tmp_path: Path) -> None:
    data = {**ignored_labels(), "y": np.zeros(ROWS, np.int64)}
    said = said_of(nan_job(data=data, optimizer=ts.optim.SGD(lr=1e38)), tmp_path / "run")
    assert re.search(r"the weights are lost, too: model\.\S+\[[\d, ]+\] is (NaN|-?infinite)", said)
    assert "lower learning rate" in said


def test_data_that_are_not_finite_are_named(tmp_path: Path) -> None:
    data = {**ignored_labels(), "y": np.zeros(ROWS, np.int64)}
    data["x"][17, 2] = np.nan
    said = said_of(nan_job(data=data), tmp_path / "run")
    assert "The data are not finite: data.x[17, 2] is NaN" in said
    mended = {**data, "x": np.nan_to_num(data["x"])}
    assert np.isfinite(nan_job(data=mended).run(tmp_path / "mended").losses).all()


def test_what_was_infinite_from_the_start_is_none_of_the_trouble(tmp_path: Path) -> None:
    model = nan_job().model
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    assert "all weights are finite" in said_of(nan_job(model=model), tmp_path / "run")


@pytest.mark.parametrize("on_nan", ["ignore", None, True])
def test_other_words_are_refused(on_nan: Any, tmp_path: Path) -> None:
    with pytest.raises(ts.JobError, match=r"'stop'.*'record'"):
        nan_job(on_nan=on_nan)
    if on_nan is not None:
        with pytest.raises(ts.JobError, match=r"'stop'.*'record'"):
            nan_job().run(tmp_path / "run", on_nan=on_nan)


@pytest.mark.parametrize(
    ("dtype", "bits", "words"),
    [
        (DType.F32, [0x7F7FFFFF, 0xFF800000], "-infinite"),
        (DType.F32, [0, 0x7FC00000], "NaN"),
        (DType.BF16, [0x7F7F, 0x7F80], "infinite"),
        (DType.BF16, [0, 0xFFC0], "NaN"),
        (DType.F16, [0x7BFF, 0xFC00], "-infinite"),
        (DType.F16, [0, 0x7E00], "NaN"),
    ],
)
def test_every_float_type_is_looked_at(dtype: DType, bits: list[int], words: str) -> None:
    kind = {4: np.uint32, 2: np.uint16}[dtype.size]
    array = np.array(bits, kind)
    stored = array.view({DType.F32: np.float32, DType.F16: np.float16}.get(dtype, kind))
    assert not_finite(TensorType(dtype, (2,)), stored) == (1, words)
    assert not_finite(TensorType(dtype, (1,)), stored[:1]) is None


FILE = """
import dataclasses
from test_job_nan import nan_job

def job():
    return dataclasses.replace(nan_job(), steps={steps})
"""


@pytest.mark.parametrize("steps", [12, IGNORED + 1])
def test_the_command_line_tells_of_losses_that_are_nan(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the last loss is NaN: JSON has no word for that."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (tmp_path / "mine.py").write_text(FILE.format(steps=steps))
    reference = f"{tmp_path}/mine.py:job"
    run_job(reference, Wishes(out=tmp_path / "run", on_nan="record"), as_json=True)
    summary = json.loads(capsys.readouterr().out)
    assert summary["nan_losses"] == (1 if steps < 8 else 2)
    assert (summary["last_loss"] is None) == (steps == IGNORED + 1)
    run_job(reference, Wishes(out=tmp_path / "run"), as_json=False)
    assert f"the first in step {IGNORED}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        run_job(reference, Wishes(out=tmp_path / "other", on_nan="stop"), as_json=False)
    assert stopped.value.code == 2
    assert "--on-nan record" in capsys.readouterr().err
