"""What commitments cost: the rate of one core, and hashing's share of a run whose segments have the default length.

    python benchmarks/hashing.py [--only gpt-10m] [--threads 2] [--json]

The rate is over chunks of tensors (1,024 bytes and a prefix each), code generated for every instruction set of this
machine next to the standard library's. The share takes the state root of a case and the steps of a segment.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from cases import Case, all_cases
from harness.output import say, show, usable_cores
from harness.torch_run import capture
from tallystick.commitment import Hasher, HashlibHasher
from tallystick.commitment.states import StateHasher
from tallystick.engine import Engine, Target
from tallystick.engine.sha256 import VectorHasher
from tallystick.job.job import DEFAULT_SEGMENT_STEPS
from tallystick.spec.digests import CHUNK

RATE_BAR, SHARE_BAR = 2.0, 0.01  # GB/s on one core with 512-bit vectors; of a run
STREAM = 4 << 20  # bytes hashed to find the rate, again and again
TIMED_S = 1.0  # for so long
STEPS_S = 2.0  # length of the run whose steps are timed


def fastest(run: Callable[[], object]) -> float:
    """Seconds of the fastest of some runs: others' work can only slow hashing down."""
    times: list[float] = []
    end = time.perf_counter() + TIMED_S
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def rate_of(name: str, hasher: Hasher) -> dict[str, Any]:
    data = np.random.default_rng(0).bytes(STREAM)
    seconds = fastest(lambda: hasher.digests(b"\0", data, CHUNK))
    bar = RATE_BAR if name == "avx512" else None
    return {"what": f"chunks, {name}", "GB/s of a core": round(STREAM / seconds / 1e9, 2), "bar": bar}


def share_of(case: Case, threads: int) -> dict[str, Any]:
    captured = capture(case)
    hasher = VectorHasher()
    with Engine(captured.program, threads=threads).start(captured.state, captured.constants) as session:
        session.advance(1)
        start = time.perf_counter()
        session.advance(1)
        steps = max(1, round(STEPS_S / (time.perf_counter() - start)))
        start = time.perf_counter()
        session.advance(steps)
        step_s = (time.perf_counter() - start) / steps
        state = session.state()
        hash_s = fastest(lambda: StateHasher(captured.program, hasher).root(state))
    segment_s = DEFAULT_SEGMENT_STEPS * step_s
    return {
        "what": f"state of {case.name}",
        "GB/s of a core": round(sum(array.nbytes for array in state) / hash_s / 1e9, 2),
        "state_mb": round(sum(array.nbytes for array in state) / 1e6, 1),
        "hash_ms": round(hash_s * 1e3, 1),
        "step_ms": round(step_s * 1e3, 1),
        "segment_steps": DEFAULT_SEGMENT_STEPS,
        "share": round(hash_s / (hash_s + segment_s), 5),
        "bar": SHARE_BAR,
    }


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--only", default="digits,gpt-1m,gpt-10m", help="cases of training_step.py whose share to find")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    cases = {case.name: case for case in all_cases()}
    hashers = {"hashlib": HashlibHasher(), **{isa: VectorHasher(Target(isa)) for isa in Target.available()}}
    rows = [rate_of(name, hasher) for name, hasher in hashers.items()]
    for name in filter(None, options.only.split(",")):
        if name not in cases:
            parser.error(f"there is no case {name}; there are {', '.join(cases)}")
        say(f"{name} ...")
        rows.append(share_of(cases[name], options.threads))
    show(rows, options.threads, options.json, "hashing: rates are of one core, shares of runs on all threads")


if __name__ == "__main__":
    main(sys.argv[1:])
