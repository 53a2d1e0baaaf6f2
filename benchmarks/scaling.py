"""How step time and memory grow with parameters, length of the sequence and batch, beside PyTorch's.

    python benchmarks/scaling.py [--threads 2] [--repeats 5] [--only parameters,sequence,batch] [--json] [--plot F.svg]

A GPT in three sweeps: 1 to 85 million parameters at 512 tokens a step; sequences of 128 to 2,048 at 2,048 tokens a
step; batches of 1 to 64 rows of 128 tokens. The peer is eager PyTorch with its fused AdamW, interleaved in the same
run. Memory is the growth of each side's own process while it trains (Linux only).
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from cases import Case
from cases.gpt_models import case
from harness.case_memory import memory_of
from harness.interleaving import interleaved
from harness.output import say, show, usable_cores
from harness.peak_memory import MIB, in_child
from harness.scaling_plot import plot
from harness.torch_run import TorchRun, capture
from tallystick.engine import Engine

SIZES = {"1m": (128, 4, 5), "3m": (256, 8, 4), "11m": (384, 6, 6), "29m": (512, 8, 9), "85m": (768, 12, 12)}
LENGTHS = (128, 256, 512, 1024, 2048)
BATCHES = (1, 4, 16, 64)
TOKENS = 2048  # a step, of the sweep over lengths


def sweeps() -> dict[str, dict[int, Case]]:
    """The cases of every sweep, by the number that grows; that of parameters is put in when they are counted."""
    return {
        "parameters": {i: case(f"parameters-{name}", *size, batch=4) for i, (name, size) in enumerate(SIZES.items())},
        "sequence": {t: case(f"sequence-{t}", *SIZES["3m"], batch=TOKENS // t, context=t) for t in LENGTHS},
        "batch": {n: case(f"batch-{n}", *SIZES["3m"], batch=n) for n in BATCHES},
    }


def measure(sweep: str, number: int, case: Case, threads: int, repeats: int) -> dict[str, Any]:
    """One point of a sweep."""
    captured = capture(case)
    engine = Engine(captured.program, threads=threads)
    peer = TorchRun(case, fused=True)
    parameters = sum(p.numel() for p in peer.model.parameters())
    with engine.start(captured.state, captured.constants) as session:
        median = interleaved({"ours": session.advance, "torch": peer.advance}, repeats)
    del peer, session
    memory = {side: in_child(__file__, side, case.name, threads) for side in ("ours", "torch")}
    known = memory["ours"] is not None and memory["torch"] is not None
    return {
        "sweep": sweep,
        "number": parameters if sweep == "parameters" else number,
        "ours_ms": round(median["ours"], 2),
        "torch_ms": round(median["torch"], 2),
        "ratio": round(median["ours"] / median["torch"], 3),
        "ours_mib": round(memory["ours"] / MIB) if known else None,
        "torch_mib": round(memory["torch"] / MIB) if known else None,
        "memory_ratio": round(memory["ours"] / memory["torch"], 3) if known else None,
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="names of sweeps, separated by commas")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path, help="also draw the results into this file")
    parser.add_argument("--memory-of", nargs=2, metavar=("SIDE", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    every = sweeps()
    if options.memory_of:
        side, name = options.memory_of
        found = next(case for cases in every.values() for case in cases.values() if case.name == name)
        print(memory_of(found, side, options.threads))
        return 0
    wanted = [name for name in options.only.split(",") if name] or list(every)
    if unknown := [name for name in wanted if name not in every]:
        parser.error(f"there is no sweep {', '.join(unknown)}; there are {', '.join(every)}")
    rows, failed = [], 0
    for sweep in wanted:
        for number, point in every[sweep].items():
            say(f"{point.name} ...")
            try:
                rows.append(measure(sweep, number, point, options.threads, options.repeats))
            except Exception:  # noqa: BLE001 - the other points are still wanted
                traceback.print_exc()
                failed += 1
    show(rows, options.threads, options.json, "ratio = our step time / eager PyTorch's (fused AdamW); medians")
    if options.plot:
        plot(rows, options.plot)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
