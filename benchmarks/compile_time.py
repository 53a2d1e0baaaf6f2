"""How long somebody waits before the first step: capture, code generation, and the start when the code is known.

    python benchmarks/compile_time.py [--threads 2] [--only gpt-10m] [--json]

``capture_s`` is from the PyTorch model to the program, PyTorch's own imports included if it is the first case;
``code_s`` generates machine code with an empty cache, ``cached_s`` starts the same program again with the code on disk.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from cases import Case, all_cases
from harness.output import say, show, usable_cores
from harness.torch_run import capture
from tallystick.engine import Engine
from tallystick.ir.captured import Captured

CODE_BAR_S, CACHED_BAR_S = 20.0, 2.0


def first_step_s(captured: Captured, threads: int, cache: Path) -> float:
    """Seconds until the first step of a program can begin."""
    start = time.perf_counter()
    engine = Engine(captured.program, threads=threads, cache=cache)
    with engine.start(captured.state, captured.constants):
        return time.perf_counter() - start


def measure(case: Case, threads: int) -> dict[str, Any]:
    start = time.perf_counter()
    captured = capture(case)
    capture_s = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        code_s = first_step_s(captured, threads, Path(folder))
        cached_s = first_step_s(captured, threads, Path(folder))
    return {
        "case": case.name,
        "kernels": len(captured.program.kernels),
        "capture_s": round(capture_s, 2),
        "code_s": round(code_s, 2),
        "code_bar_s": CODE_BAR_S,
        "cached_s": round(cached_s, 2),
        "cached_bar_s": CACHED_BAR_S,
    }


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--only", default="gpt-10m", help="names of cases of training_step.py, separated by commas")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    cases = {case.name: case for case in all_cases()}
    rows = []
    for name in options.only.split(","):
        if name not in cases:
            parser.error(f"there is no case {name}; there are {', '.join(cases)}")
        say(f"{name} ...")
        rows.append(measure(cases[name], options.threads))
    show(rows, options.threads, options.json, "seconds before the first step")


if __name__ == "__main__":
    main(sys.argv[1:])
