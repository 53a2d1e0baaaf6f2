"""What it costs to see that a captured step is what the user wrote: captures with and without the checks, interleaved.

    python benchmarks/capture_checks.py [--repeats 5] [--only gpt-1m,digits] [--json]

Without the checks: operators are not entered in the ledger, the step does not run a second time, and nothing is looked
for or put back. The ratio should stay below 1.2. CPU time of the process is compared: a busy machine matters less then.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from cases import Case, all_cases
from harness.output import say, show
from harness.torch_run import capture
from tallystick.capture.reach.walk import Found
from tallystick.capture.tracing import trace
from tallystick.capture.watching.watch import Watch

BAR = 1.2


@contextmanager
def unchecked() -> Iterator[None]:
    """Inside, operators run unwatched, and once."""

    def run(self: Watch, func: Any, args: tuple, kwargs: dict, line: Any, ours: bool = False) -> Any:
        return func(*args, **kwargs)

    with (
        mock.patch.object(Watch, "run", run),
        mock.patch.object(trace, "_require_repeatable", lambda *given: None),
        mock.patch.object(trace, "settle", lambda watch: []),
        mock.patch("tallystick.capture.reach.world.walk", lambda roots: Found()),
    ):
        yield


def seconds(case: Case) -> float:
    """CPU time of one capture."""
    start = time.process_time()
    capture(case)
    return time.process_time() - start


def measure(case: Case, repeats: int) -> dict[str, Any]:
    capture(case)  # what is only done once per process
    checked: list[float] = []
    plain: list[float] = []
    for _ in range(repeats):
        checked.append(seconds(case))
        with unchecked():
            plain.append(seconds(case))
    with_checks, without = statistics.median(checked), statistics.median(plain)
    return {
        "case": case.name,
        "with_s": round(with_checks, 2),
        "without_s": round(without, 2),
        "ratio": round(with_checks / without, 3),
        "bar": BAR,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", help="names of cases, with commas between")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wanted = None if options.only is None else options.only.split(",")
    rows = []
    for case in all_cases():
        if wanted is None or case.name in wanted:
            say(f"{case.name} ...")
            rows.append(measure(case, options.repeats))
    show(rows, threads=1, as_json=options.json, note="CPU seconds of a capture, medians.")


if __name__ == "__main__":
    main()
