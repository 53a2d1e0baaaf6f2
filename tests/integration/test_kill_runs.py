"""A worker that is killed at any moment goes on and ends with the same roots. Real processes, real signals."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tallystick as ts
from job_helpers import tiny_job
from tallystick.job import Job, verify

KILLS = 20
STEPS, SEGMENT_STEPS = 1600, 4
WORKER = """
import sys
from tallystick.job import Job
Job.open(sys.argv[1]).run(sys.argv[1], threads=1, keep_states=40)
"""


class StopHereError(Exception):
    """Ends a run in this process."""


def stop(progress: ts.Progress) -> None:
    if progress.phase == "compile":
        raise StopHereError


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job that was set up and not begun."""
    folder = tmp_path_factory.mktemp("started") / "run"
    with pytest.raises(StopHereError):
        tiny_job(STEPS, SEGMENT_STEPS).run(folder, progress=stop)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(started: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    shutil.copytree(started, folder)
    Job.open(folder).run(folder, threads=2, keep_states=40)
    return folder


def start_worker(folder: Path) -> subprocess.Popen:
    """A worker process, started where the last one stopped."""
    return subprocess.Popen([sys.executable, "-c", WORKER, folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(condition: Callable[[], bool], worker: subprocess.Popen) -> bool:
    """Wait until something holds; False if the worker ends first."""
    while worker.poll() is None:
        if condition():
            return True
        time.sleep(0.002)
    return False


def lines(folder: Path) -> int:
    return (folder / "journal").read_bytes().count(b"\n")


def test_twenty_kills_at_random_moments_change_nothing(started: Path, uninterrupted: Path, tmp_path: Path) -> None:
    folder, chance = tmp_path / "run", random.Random(0)
    shutil.copytree(started, folder)
    progress = [0]
    for kill in range(KILLS):
        worker = start_worker(folder)
        try:
            # Every fourth kill may hit the start of the process, the others hit the loop after it has done something.
            before = lines(folder)
            if kill % 4 == 3:
                time.sleep(chance.uniform(0, 0.4))
            else:
                assert wait_for(lambda seen=before: lines(folder) > seen, worker), worker.communicate()[1].decode()
                time.sleep(chance.uniform(0, 0.015))
        finally:
            worker.kill()
        assert worker.wait() == -signal.SIGKILL, "the worker was still at it"
        worker.communicate()
        progress.append(lines(folder))
    assert progress == sorted(progress), "no whole segment is ever lost"
    assert progress[-1] < STEPS // SEGMENT_STEPS
    worker = start_worker(folder)
    assert worker.communicate()[1] == b"" and worker.returncode == 0
    assert ts.load_receipt(folder).roots == ts.load_receipt(uninterrupted).roots
    assert (folder / "model.safetensors").read_bytes() == (uninterrupted / "model.safetensors").read_bytes()
    assert not list(folder.rglob("*.tmp"))
    assert len(list((folder / "states").iterdir())) == len(list((uninterrupted / "states").iterdir())) <= 40
    report = verify(folder, sample=0.01)
    assert report.ok, report.findings


def test_ctrl_c_leaves_a_run_that_goes_on(started: Path, uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(started, folder)
    worker = start_worker(folder)
    assert wait_for(lambda: lines(folder) > 2, worker)
    worker.send_signal(signal.SIGINT)
    errors = worker.communicate(timeout=20)[1]
    assert worker.returncode != 0 and b"KeyboardInterrupt" in errors
    done = lines(folder)
    assert 2 < done < STEPS // SEGMENT_STEPS
    run = Job.open(folder).run(folder)
    assert run.start_step == done * SEGMENT_STEPS
    assert run.receipt.roots == ts.load_receipt(uninterrupted).roots


def test_two_workers_do_not_share_a_folder(started: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(started, folder)
    first = start_worker(folder)
    try:
        assert wait_for(lambda: lines(folder) > 0, first)
        second = start_worker(folder)
        assert b"another process is working" in second.communicate()[1]
        assert second.returncode != 0
    finally:
        first.kill()
        first.communicate()
