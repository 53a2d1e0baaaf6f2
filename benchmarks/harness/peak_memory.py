"""The most memory that training takes, in a process of its own: how far resident memory grows over what was there.

What is there before is the interpreter, the libraries and, on our side, the captured program with its start arrays.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

STEPS = 3
TIMEOUT_S = 300
MIB = 1 << 20
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")

Side = Literal["ours", "torch"]


def is_known() -> bool:
    """Whether this system tells peaks of resident memory, and starts them anew."""
    return _STATUS.exists() and _RESET.exists()


def resident(key: Literal["VmRSS", "VmHWM"]) -> int:
    """Bytes of memory this process has now, or had at most."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


class Growth:
    """Bytes that resident memory grew at most since the beginning of a ``with`` block."""

    def __enter__(self) -> Growth:
        gc.collect()
        _RESET.write_text("5")  # the peak is what is there now
        self.before, self.bytes = resident("VmRSS"), 0
        return self

    def __exit__(self, *problem: object) -> None:
        self.bytes = resident("VmHWM") - self.before


def in_child(script: str, side: Side, case: str, threads: int) -> int | None:
    """What ``script --memory-of SIDE CASE`` prints: bytes, or None where the system does not tell."""
    if not is_known():
        return None
    command = [sys.executable, script, "--memory-of", side, case, "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return int(json.loads(done.stdout.splitlines()[-1]))
