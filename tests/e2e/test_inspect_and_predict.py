"""A user reads a program and uses a trained model."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from e2e.story import JOBS, Colleague, User


def test_a_program_is_readable(colleague: Colleague, trained: Path) -> None:
    text = colleague.tally("inspect", f"{JOBS}:job").stdout
    assert "state %0 model." in text
    assert "digits.py:" in text
    assert "self.conv1(x)" in text
    assert "ffma" not in text
    assert "peak memory" in text
    assert "ffma" in colleague.tally("inspect", f"{JOBS}:job", "--bodies").stdout


def test_the_source_and_the_folder_hold_the_same_program(colleague: Colleague, trained: Path) -> None:
    mine = colleague.tally_json("inspect", f"{JOBS}:job")
    theirs = colleague.tally_json("inspect", trained)
    assert mine == theirs
    assert mine["kernel_count"] == len(mine["kernels"])
    assert mine["work_per_step"] == sum(kernel["work"] for kernel in mine["kernels"])
    assert all(kernel["source"] for kernel in mine["kernels"])
    assert mine["peak_memory_bytes"] > mine["state_bytes"]


def test_a_reader_may_stop_reading(user: User, trained: Path) -> None:
    """As in ``tally inspect ... | head``: here the reader is gone before the first byte."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        user.command("inspect", trained),
        cwd=user.home,
        env=user.environment,
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_trained_model_is_used(colleague: Colleague, trained: Path) -> None:
    assert "scale    2.5000" in colleague.tally("predict", trained, f"{JOBS}:predict", "scale=2.5").stdout
    answer = colleague.tally_json("predict", trained, f"{JOBS}:predict")["answer"]
    assert answer["scale"] == 1.0
    assert answer["weights"] > 10_000
    assert colleague.tally("predict", trained, f"{JOBS}:say").stdout == "plain text\n"


def test_what_cannot_be_predicted(colleague: Colleague, trained: Path) -> None:
    assert "takes scale" in colleague.tally("predict", trained, f"{JOBS}:predict", "size=2", expect=2).stderr
    assert "JSON cannot hold" in colleague.tally("predict", trained, f"{JOBS}:not_json", "--json", expect=2).stderr
    other = colleague.tally("predict", trained, f"{JOBS}:predict", "--job", "small", expect=2).stderr
    assert "weight" in other


def test_the_time_of_a_job_is_told_kernel_by_kernel(colleague: Colleague, trained: Path) -> None:
    found = colleague.tally_json("profile", f"{JOBS}:job", "--steps", 3, "--threads", 2)
    program = colleague.tally_json("inspect", f"{JOBS}:job")
    assert (found["steps"], found["threads"]) == (3, 2)
    assert sorted(k for group in found["groups"] for k in group["kernels"]) == list(range(program["kernel_count"]))
    assert sum(found["kinds_ms"].values()) < found["step_ms"]
    assert found["plan_bytes"] == program["peak_memory_bytes"]
    text = colleague.tally("profile", trained, "--steps", 2, "--top", 3, "--sort", "lost").stdout
    assert "more rows: --top N" in text
    assert "measured now" in text


def test_an_order_that_does_not_exist(colleague: Colleague) -> None:
    assert "lost" in colleague.tally("profile", f"{JOBS}:job", "--sort", "size", expect=2).stderr
