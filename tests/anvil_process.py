"""Anvil, a development node, as a process of its own for as long as a test needs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
# The accounts that every Anvil has by default; their keys are in its documentation.
KEYS = (
    bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
    bytes.fromhex("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"),
)


def find_anvil() -> Path | None:
    """The program, named by ANVIL, on the PATH, or where `make anvil` puts it."""
    named = os.environ.get("ANVIL") or shutil.which("anvil")
    if named:
        return Path(named)
    modules = Path(sys.prefix) / "anvil" / "node_modules"
    # The program itself rather than npm's wrapper around it, so that there is one process to stop.
    programs = [*modules.glob("@foundry-rs/anvil-*/bin/anvil*"), modules / ".bin" / "anvil"]
    return next((path for path in programs if path.is_file()), None)


@contextmanager
def anvil(folder: Path, *arguments: str) -> Iterator[str]:
    """A node on a free port under the same rules as the embedded chain; gives its address. Skips without Anvil.

    `folder` takes whatever it writes.
    """
    program = find_anvil()
    if program is None:
        pytest.skip("Anvil is not installed: make anvil")
    output = folder / "anvil.txt"
    command = [program, "--port", "0", "--hardfork", "prague", "--gas-limit", "30000000", *arguments]
    environment = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=folder
        )
    try:
        yield f"http://127.0.0.1:{_port(process, output)}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT_S)


def _port(process: subprocess.Popen[bytes], output: Path) -> int:
    """The port it says it listens on."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(rb"Listening on 127\.0\.0\.1:(\d+)", output.read_bytes())
        if found:
            return int(found[1])
        time.sleep(0.02)
    raise RuntimeError(f"Anvil did not start:\n{output.read_text(errors='replace')}")
