"""What data may be: doubles are rounded and it is said, unsigned integers are integers, others are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tallystick as ts
from eager_training import train_eagerly
from tallystick.capture import rounded_data
from tallystick.capture.inputs import batch_inputs
from tallystick.capture.rounded_data import as_float32
from tallystick.cli.run import Wishes, run_job
from tallystick.errors import CaptureError

ROWS = 8
THIRD = np.arange(ROWS * 3).reshape(ROWS, 3) / 3.0


def loss(model: nn.Module, x: Tensor) -> Tensor:
    return (model(x.float()) - 1.0).square().mean()


def data_job(x: Any, **changes: Any) -> ts.TrainingJob:
    torch.manual_seed(0)
    given: dict[str, Any] = {
        "name": "data",
        "model": nn.Linear(3, 1),
        "loss": loss,
        "optimizer": ts.optim.SGD(lr=1e-3),
        "data": {"x": x},
        "batch_size": 4,
        "steps": 4,
    }
    return ts.TrainingJob(**given | changes)


# DOUBLES


@pytest.mark.parametrize("x", [THIRD, torch.from_numpy(THIRD), THIRD.astype(">f8"), np.asfortranarray(THIRD)])
def test_doubles_are_the_job_of_their_rounded_values(x: Any, tmp_path: Path) -> None:
    rounded = data_job(THIRD.astype(np.float32))
    assert data_job(x).job().manifest.id == rounded.job().manifest.id
    assert rounded.capture().notes == ()
    (note,) = data_job(x).capture().notes
    error = np.abs(THIRD.astype(np.float32) / np.where(THIRD, THIRD, 1.0) - 1.0)[THIRD > 0].max()
    assert f"data.x is float64 and is stored as float32: the largest relative rounding is {error:.1e}" in note
    losses, _ = train_eagerly(
        rounded.model, loss, rounded.optimizer, {"x": THIRD}, batch_size=4, steps=4
    )  # in double precision until the model
    np.testing.assert_allclose(data_job(x).run(tmp_path / "run").losses, losses, rtol=1e-3)


def test_doubles_on_disk_are_rounded_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", THIRD)
    monkeypatch.setattr(rounded_data, "ROWS_AT_ONCE", 5)
    (array, note), (plain, said) = (
        as_float32("x", values) for values in (np.load(tmp_path / "x.npy", mmap_mode="r"), THIRD)
    )
    assert note == said and (array == plain).all()  # type: ignore[attr-defined]


def test_what_fits_costs_nothing_and_is_not_talked_about() -> None:
    for exact in (np.arange(24.0).reshape(8, 3), np.array([0.5, np.inf, -np.inf, np.nan, -0.0]), np.zeros((0, 3))):
        array, note = as_float32("x", exact)
        assert note is None
        assert array.dtype == np.float32  # type: ignore[attr-defined]
        np.testing.assert_array_equal(array, exact)  # type: ignore[arg-type]


def test_a_number_that_is_lost_is_said() -> None:
    """Too small for float32: nothing is left of it."""
    array, note = as_float32("x", np.array([1.0, 0.0, 1e-60]))
    assert array[2] == 0.0 and note is not None and "1.0e+00, of x[2]" in note  # type: ignore[index]


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_a_number_beyond_float32_is_refused(make: Any) -> None:
    far = THIRD.copy()
    far[5, 1] = -1e39
    with pytest.raises(CaptureError, match=r"data\.x\[5, 1\] is -1e\+39, beyond float32.*rescale"):
        data_job(make(far)).capture()
    data_job(make(far / 1e3)).capture()


@pytest.mark.parametrize("parts", [4, 1 << 22])
def test_whole_numbers_that_would_become_others_are_refused(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounded_data, "ROWS_AT_ONCE", parts)
    numbers = np.arange(24.0).reshape(8, 3)
    numbers[2, 1] = 16777217.0
    numbers[7, 2] = 123456789.0
    with pytest.raises(CaptureError, match=r"data\.x\[2, 1\] is the whole number 16777217.*numpy\.int64.*numpy\.float"):
        data_job(numbers).capture()
    # THE ADVICE, ALL OF IT
    assert data_job(numbers.astype(np.int64)).capture().notes == ()
    assert data_job(numbers.astype(np.float32)).capture().notes == ()
    assert data_job(numbers / 1e6).capture().notes != ()
    numbers[0, 0] = 0.5  # measured, evidently
    (note,) = data_job(numbers).capture().notes
    assert "data.x" in note
    assert as_float32("x", np.array([1e20, 3e30]))[1] is not None, "every double that large is whole"


def test_prepared_data_may_be_doubles(tmp_path: Path) -> None:
    given: dict[str, Any] = {"prepare": lambda x: {"y": x * 2.0}, "chunk_rows": 4, "standardised": ["x"]}
    jobs = [ts.PreprocessingJob(data={"x": x}, **given) for x in (THIRD, THIRD.astype(np.float32))]
    assert jobs[0].job().manifest.id == jobs[1].job().manifest.id
    assert len(jobs[0].capture().notes) == 1 and jobs[1].capture().notes == ()
    run = jobs[0].run(tmp_path / "run")
    exact = (THIRD - THIRD.mean(0)) / THIRD.std(0) * 2.0
    np.testing.assert_allclose(run.state()["y"], exact, rtol=1e-4, atol=1e-5)


FILE = """
from test_data_types import THIRD, data_job

def job():
    return data_job(THIRD)
"""


def test_the_note_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    data_job(THIRD).run(tmp_path / "run", progress=lambda p: told.append(p.note) if p.note else None)
    assert len(told) == 1 and "largest relative rounding" in told[0]
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (tmp_path / "mine.py").write_text(FILE)
    run_job(f"{tmp_path}/mine.py:job", Wishes(out=tmp_path / "other"), as_json=False)
    assert capsys.readouterr().err.count("largest relative rounding") == 1


# INTEGERS


@pytest.mark.parametrize("kind", [np.uint16, np.uint32, np.uint64, ">u2", ">u4"])
def test_unsigned_integers_are_integers(kind: Any) -> None:
    numbers = np.arange(24).reshape(8, 3) * 2700
    same = data_job(numbers).job().manifest.id
    assert data_job(numbers.astype(kind)).job().manifest.id == same
    if np.dtype(kind).isnative:
        assert data_job(torch.from_numpy(numbers.astype(kind))).job().manifest.id == same


def test_unsigned_integers_index_as_integers_do(tmp_path: Path) -> None:
    """Token numbers of 16 bits, as people store texts."""

    def tokens_loss(model: nn.Module, x: Tensor) -> Tensor:
        return model(x).square().mean()

    tokens = np.arange(24, dtype=np.uint16).reshape(8, 3)
    torch.manual_seed(0)
    job = data_job(tokens, model=nn.Embedding(24, 4), loss=tokens_loss)
    losses, _ = train_eagerly(
        job.model, tokens_loss, job.optimizer, {"x": tokens.astype(np.int64)}, batch_size=4, steps=4
    )
    np.testing.assert_allclose(job.run(tmp_path / "run").losses, losses, rtol=1e-3)


@pytest.mark.parametrize(("kind", "number"), [(np.uint32, 1 << 31), (np.uint64, (1 << 64) - 1), (np.uint64, 1 << 40)])
def test_unsigned_integers_that_do_not_fit_are_named(kind: Any, number: int) -> None:
    numbers = np.zeros((8, 3), kind)
    numbers[6, 2] = number
    with pytest.raises(CaptureError, match=rf"data\.x\[6, 2\] is {number}, which does not fit the 32-bit integers"):
        data_job(numbers).capture()
    numbers[6, 2] = (1 << 31) - 1
    (made,) = batch_inputs({"x": numbers}).values()
    assert made.array is not None and made.array[6, 2] == (1 << 31) - 1 and made.dtype is torch.int64


# EVERYTHING ELSE


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.array([["a", "b"]] * 8), "turn texts into numbers"),
        (np.array([[b"a", b"b"]] * 8), "turn texts into numbers"),
        (np.array([[1, 2]] * 8, object), "rows of the same length"),
        (np.array(["2024-01-01"] * 8, "datetime64[D]"), "turn times into numbers"),
        (np.ones(8, [("a", "f4"), ("b", "f4")]), "one array per field"),
        (np.ones((8, 3), np.complex128), "make it complex64"),
        (torch.ones(8, 3, dtype=torch.complex128), "make it complex64"),
        ([1.0, 2.0], "pass a numpy array or a torch tensor"),
    ],
)
def test_other_data_are_refused_with_advice(x: Any, words: str) -> None:
    with pytest.raises(CaptureError, match=rf"data\.x .*{words}"):
        data_job(x).capture()


def test_the_advice_about_texts_works() -> None:
    texts = np.array([["a", "b", "c"]] * 8)
    numbers = np.unique(texts, return_inverse=True)[1].reshape(texts.shape)
    assert data_job(numbers).capture().notes == ()
