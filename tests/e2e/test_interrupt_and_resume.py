"""Ctrl-C in the middle, then the same command again: the same bits as without."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from e2e.story import JOBS, TIMEOUT_S, Colleague, User


def test_an_interrupted_run_goes_on_where_it_was(user: User) -> None:
    folder = user.home / "interrupted"
    words = ("run", f"{JOBS}:long", "--out", "interrupted", "--json")
    process = subprocess.Popen(
        user.command(*words),
        cwd=user.home,
        env=user.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_segments(folder / "journal", 3, process)
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert time.monotonic() - asked < 10, "Ctrl-C has to be prompt"
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert f"tally run {JOBS}:long --out interrupted --json" in err
    assert json.loads(out)["error"]["exit_code"] == 130
    assert not (folder / "receipt.json").exists()
    assert "not finished" in user.tally("verify", folder, expect=2).stderr
    finished = segments(folder / "journal")
    assert finished >= 3

    process = subprocess.Popen(user.command(*words), cwd=user.home, env=user.environment, stderr=subprocess.PIPE)
    wait_for_segments(folder / "journal", finished + 1, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_S)
    assert segments(folder / "journal") > finished, "the second call went on; it did not begin anew"


def test_a_finished_run_is_not_run_again(colleague: Colleague, trained: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*.state")}
    summary = colleague.tally_json("run", f"{JOBS}:job", "--out", trained)
    assert summary["started_at_step"] == summary["steps"] == 24
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*.state")} == before


def test_restart_begins_anew(colleague: Colleague) -> None:
    first = colleague.tally_json("run", f"{JOBS}:small", "--out", "restarted")
    assert "another job" in colleague.tally("run", f"{JOBS}:other", "--out", "restarted", expect=2).stderr
    again = colleague.tally_json("run", f"{JOBS}:other", "--out", "restarted", "--restart")
    assert (first["steps"], again["steps"], again["started_at_step"]) == (6, 7, 0)
    colleague.tally("verify", "restarted", "--full")


def segments(journal: Path) -> int:
    """Whole lines of the journal: finished segments."""
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def wait_for_segments(journal: Path, count: int, process: subprocess.Popen) -> None:
    """Wait until that many segments are finished."""
    deadline = time.monotonic() + TIMEOUT_S
    while segments(journal) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
