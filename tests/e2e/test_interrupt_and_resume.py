"""Ctrl-C in the middle, then the same command again: the same bits as without."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from e2e.story import JOBS, TIMEOUT_S, Colleague, User
from tallystick.job import load_receipt


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


def test_a_finished_run_goes_on_and_is_killed_on_the_way(user: User, colleague: Colleague, trained: Path) -> None:
    words = ("run", f"{JOBS}:longer", "--continue-from", trained, "--out", "went-on", "--json")
    folder = user.home / "went-on"
    for kill in range(2):
        before = segments(folder / "journal")
        process = subprocess.Popen(
            user.command(*words), cwd=user.home, env=user.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        wait_for_segments(folder / "journal", before + 3, process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, f"kill {kill}"
    summary = user.tally_json(*words[:-1])
    assert summary["steps"] == 300 and summary["started_at_step"] >= 30
    report = user.tally_json("verify", folder, "--sample", "10%")
    assert report["ok"] and report["before"]["manifest_id"] == load_receipt(trained).manifest_id
    whole = colleague.tally_json("run", f"{JOBS}:longer", "--out", user.home / "whole")
    assert whole["final_root"] == summary["final_root"]
    assert "goes on from" in user.tally("verify", folder).stdout
    end = folder / "before" / "states" / f"{load_receipt(trained).roots[-1]}.state"
    size = end.stat().st_size
    end.unlink()  # one of the names of a file that both folders share
    end.write_bytes(bytes(size))
    assert str(end) in user.tally("verify", folder, expect=1).stdout
    user.tally("verify", trained)


def test_a_finished_run_says_how_it_goes_on(colleague: Colleague, trained: Path) -> None:
    said = colleague.tally("run", f"{JOBS}:longer", "--out", trained, expect=2).stderr
    assert f"--continue-from {trained} --out ANOTHER" in said
    said = colleague.tally("run", f"{JOBS}:longer", "--continue-from", "nowhere", "--out", "x", expect=2).stderr
    assert "continue_from='nowhere' is no finished run" in said


def test_a_model_without_a_seed_resumes_from_the_stored_start(colleague: Colleague, tmp_path: Path) -> None:
    first = colleague.tally_json("run", f"{JOBS}:unseeded", "--out", tmp_path / "run")
    (tmp_path / "run" / "receipt.json").unlink()
    said = colleague.tally("run", f"{JOBS}:unseeded", "--out", tmp_path / "run", expect=2).stderr
    assert "torch.manual_seed(0)" in said and "--resume-stored" in said
    again = colleague.tally_json("run", f"{JOBS}:unseeded", "--out", tmp_path / "run", "--resume-stored")
    assert (again["started_at_step"], again["final_root"]) == (6, first["final_root"])
    said = colleague.tally("run", f"{JOBS}:unseeded", "--restart", "--resume-stored", expect=2).stderr
    assert "give one of them" in said


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
