"""Everything a user can get wrong: a sentence that says what and what to do, exit code 2, nothing lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from e2e.story import JOBS, Colleague


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("zero_steps", "steps=0"),
        ("batch_too_large", "21"),
        ("shapes_do_not_fit", "short_jobs.py"),
        ("int64_too_large", "32-bit"),
        ("loss_becomes_nan", "NaN"),
        ("unknown_operator", "svdvals"),
        ("raises", "short_jobs.py line"),
        ("loss_raises", "undefined_name"),
        ("nobody", "defines no 'nobody'"),
        ("predict", "needs arguments (model)"),
        ("np", "is a module"),
    ],
)
def test_a_job_that_cannot_be(colleague: Colleague, tmp_path: Path, name: str, says: str) -> None:
    done = colleague.tally("run", f"{JOBS}:{name}", "--out", tmp_path / "out", expect=2)
    assert says in done.stderr
    assert done.stdout == ""
    error = colleague.tally_json("run", f"{JOBS}:{name}", "--out", tmp_path / "out", expect=2)["error"]
    assert error["exit_code"] == 2
    assert says in error["message"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "nowhere.py:job"], "there is no file nowhere.py"),
        (["run", "short_jobs.py"], "FILE.py:NAME"),
        (["run"], "Missing argument"),
        (["run", f"{JOBS}:small", "--threads", "0"], "--threads"),
        (["run", f"{JOBS}:small", "--keep-states", "some"], "--keep-states"),
        (["run", f"{JOBS}:small", "--keep-states", "1"], "at least 2"),
        (["run", f"{JOBS}:small", "--out", "/proc/tally"], "/proc/tally"),
        (["verify", "nowhere"], "there is no nowhere"),
        (["verify", "."], "receipt.json"),
        (["verify", "x", "--sample", "10"], "10%"),
        (["verify", "x", "--sample", "lots"], "percentage"),
        (["verify", "x", "--sample", "5%", "--full"], "one of them"),
        (["inspect", "."], "not a run folder"),
        (["inspect", "nowhere"], "FILE.py:NAME"),
        (["predict", "nowhere", f"{JOBS}:predict"], "nowhere"),
        (["walk"], "No such command"),
    ],
)
def test_words_that_do_not_fit(colleague: Colleague, words: list[str], says: str) -> None:
    assert says in " ".join(colleague.tally(*words, expect=2).stderr.replace("│", " ").split())


def test_a_folder_with_other_things_is_left_alone(colleague: Colleague, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "thesis.tex" in colleague.tally("run", f"{JOBS}:small", "--out", tmp_path, expect=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_output_that_is_a_file(colleague: Colleague, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    assert str(path) in colleague.tally("run", f"{JOBS}:small", "--out", path, expect=2).stderr
    assert path.read_text() == "mine"


def test_a_receipt_from_a_newer_version(colleague: Colleague, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "newer"
    shutil.copytree(trained, folder)
    receipt = json.loads((folder / "receipt.json").read_text())
    receipt["format"] = "tallystick.receipt/2"
    (folder / "receipt.json").write_text(json.dumps(receipt))
    assert "Install a newer one" in colleague.tally("verify", folder, expect=1).stderr


@pytest.mark.parametrize("garbage", [b"", b"{}", b"\xff" * 1000, b"[" * 100_000, b'{"format": 3}', b"null"])
def test_garbage_is_no_receipt(colleague: Colleague, tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "receipt.json").write_bytes(garbage)
    assert "not a receipt" in colleague.tally("verify", tmp_path, expect=1).stderr
