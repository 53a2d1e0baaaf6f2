"""What every story needs: the real ``tally`` in a process of its own, and a short job to give to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tallystick.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
JOBS = Path(__file__).resolve().parent / "short_jobs.py"
TALLY = Path(sys.executable).parent / "tally"
TIMEOUT_S = 300


@dataclass(frozen=True)
class User:
    """Somebody at a terminal: a folder to work in, and a home that is not the developer's."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "examples"), str(ROOT / "src")]),
            "TALLYSTICK_HOME": str(self.home / "config"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        return {**os.environ, **own}

    def command(self, *words: object) -> list[str]:
        return [str(TALLY), *map(str, words)]

    def tally(self, *words: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; it must end with this exit code and, but for bugs, without a traceback."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
        said = f"exit code {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        assert done.returncode == expect, said
        assert "Traceback" not in done.stdout + done.stderr, said
        return done

    def tally_json(self, *words: object, expect: int = 0) -> dict[str, Any]:
        """The one document a command prints with --json."""
        return json.loads(self.tally(*words, "--json", expect=expect).stdout)


@dataclass(frozen=True)
class Said:
    """What a command printed."""

    stdout: str
    stderr: str


@dataclass(frozen=True)
class Colleague:
    """Runs commands in this process: importing PyTorch once is enough for many mistakes. Warnings are errors here."""

    capsys: pytest.CaptureFixture[str]

    def tally(self, *words: object, expect: int = 0) -> Said:
        with pytest.raises(SystemExit) as caught:
            app([str(word) for word in words])
        said = self.capsys.readouterr()
        told = f"exit code {caught.value.code}\n--- stdout\n{said.out}\n--- stderr\n{said.err}"
        assert (caught.value.code or 0) == expect, told
        assert "Traceback" not in said.out + said.err, told
        return Said(said.out, said.err)

    def tally_json(self, *words: object, expect: int = 0) -> dict[str, Any]:
        return json.loads(self.tally(*words, "--json", expect=expect).stdout)


def copied(folder: Path, to: Path) -> Path:
    """A copy of a run folder to do harm to."""
    shutil.copytree(folder, to)
    return to


def flip_bit(path: Path, part: float = 0.5, bit: int = 4) -> None:
    """Flip one bit of one byte, this part of the way through a file."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * part)] ^= 1 << bit
    path.write_bytes(data)
