"""Preprocessing jobs: the right rows, in chunks that do and do not divide them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

import tallystick as ts
from job_helpers import copy_run
from tallystick.errors import CaptureError, JobError

ROWS = 23
RNG = np.random.default_rng(4)
DATA = {"x": RNG.normal(50.0, 3.0, (ROWS, 4)).astype(np.float32), "label": RNG.integers(0, 5, ROWS)}


def prepare(x: Tensor, label: Tensor) -> dict[str, Tensor]:
    return {"features": x * 2.0, "target": ts.preprocess.one_hot(label, 5), "label": label}


def job(**changes: Any) -> ts.PreprocessingJob:
    given: dict[str, Any] = {"prepare": prepare, "data": DATA, "chunk_rows": 5, "segment_steps": 2}
    return ts.PreprocessingJob(**(given | changes))


@pytest.mark.parametrize("chunk_rows", [5, ROWS, 1])
def test_every_row_is_prepared(chunk_rows: int, tmp_path: Path) -> None:
    run = job(chunk_rows=chunk_rows).run(tmp_path / "run", threads=1)
    assert run.steps == -(-ROWS // chunk_rows)
    found = run.state()
    assert (found["features"] == DATA["x"] * 2.0).all()
    assert (found["target"] == np.eye(5)[DATA["label"]]).all()
    assert (found["label"] == DATA["label"]).all()
    assert ts.verify(run.folder, full=True).ok


@pytest.mark.parametrize("chunk_rows", [5, ROWS])
def test_columns_are_standardised_over_all_rows(chunk_rows: int, tmp_path: Path) -> None:
    run = job(chunk_rows=chunk_rows, standardised=["x"]).run(tmp_path / "run", threads=1)
    assert run.steps == 3 * -(-ROWS // chunk_rows)
    found, exact = run.state(), DATA["x"].astype(np.float64)
    np.testing.assert_allclose(found["mean.x"], exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found["variance.x"], exact.var(0), rtol=1e-5)
    np.testing.assert_allclose(found["features"], 2.0 * (exact - exact.mean(0)) / exact.std(0), atol=2e-5)


def test_a_tampered_row_is_found(tmp_path: Path) -> None:
    run = job().run(tmp_path / "run", threads=1)
    broken = copy_run(run.folder, tmp_path / "broken")
    path = broken / "states" / f"{run.receipt.roots[-1]}.state"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    difference = ts.verify(broken, full=True).difference
    assert difference is not None
    assert (difference.slot, difference.element) == ("label", (ROWS - 1,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chunk_rows": ROWS + 1}, "the data has 23 rows"),
        ({"standardised": ["label"]}, "'label' is to be standardised"),
        ({"prepare": lambda x, label: {"x": x[:2]}}, r"returned \(2, 4\) for 'x'; it must return 5 rows"),
        ({"prepare": lambda x, label: x}, "must return a dict"),
    ],
)
def test_datasets_that_cannot_be_captured(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        job(**changes).capture()


def test_jobs_that_cannot_be() -> None:
    with pytest.raises(JobError, match="give a number from 1"):
        job(chunk_rows=0)
