"""Where Ctrl-C is ignored when a program starts, as in the background of a script."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from e2e.story import JOBS, ROOT, TIMEOUT_S, User

PRESSING = """
import os, signal, subprocess, sys, time
import pytest

def test_here():
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

def test_in_a_child():
    child = subprocess.Popen([sys.executable, "-c", "print('up', flush=True); import time; time.sleep(60)"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in child.communicate(timeout=30)[1]
"""


def ignoring(command: list[str]) -> list[str]:
    """A command that a shell starts as it starts those in the background of a script."""
    return ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]


def test_our_tests_press_ctrl_c_all_the_same(tmp_path: Path) -> None:
    """With the fixtures that all our tests share."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "test_pressing.py").write_text(PRESSING)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_pressing.py"]
    done = subprocess.run(ignoring(command), cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout


def test_a_run_in_the_background_ignores_it_and_ends_as_ever(user: User) -> None:
    process = subprocess.Popen(
        ignoring(user.command("run", f"{JOBS}:job", "--out", "ignored", "--json")),
        cwd=user.home,
        env=user.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    journal = user.home / "ignored" / "journal"
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 1):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    assert '"final_root"' in out
