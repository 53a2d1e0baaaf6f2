"""Time of one training step against PyTorch, on the same threads, interleaved in the same run.

    python benchmarks/training_step.py [--threads 2] [--repeats 9] [--only digits,gpt-1m] [--compile] [--json]

Both sides do the same work: fetch a batch, forward, backward, clip the gradient norm, AdamW. PyTorch runs as a user
would write it; its default AdamW and its fused one are both timed, and the faster is the peer. With ``--compile`` the
loss is also compiled as a whole by ``torch.compile`` with its default settings, which needs a C++ compiler. ``bar`` and
``goal`` are the ratios to eager and to compiled PyTorch that this project wants to stay under.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from cases import Case, all_cases
from harness.interleaving import Advance, interleaved
from harness.output import say, show, usable_cores
from harness.torch_run import TorchRun, capture
from tallystick.engine import Engine

NOTE = (
    "ratio = our step time / the faster of eager PyTorch's two; below 1 we are faster. Milliseconds per step, medians."
)


def measure(case: Case, threads: int, repeats: int, with_compile: bool) -> dict[str, Any]:
    """Medians of interleaved slices, in milliseconds per step."""
    start = time.perf_counter()
    captured = capture(case)
    capture_s = time.perf_counter() - start
    start = time.perf_counter()
    engine = Engine(captured.program, threads=threads)
    load_s = time.perf_counter() - start
    peers = {"default": TorchRun(case, fused=False), "fused": TorchRun(case, fused=True)}
    parameters = sum(p.numel() for p in peers["fused"].model.parameters())
    problem = None
    if with_compile:
        peers["compile"], problem = compiled(case)
        if problem is not None:
            del peers["compile"]
    with engine.start(captured.state, captured.constants) as session:
        runs: dict[str, Advance] = {"ours": session.advance} | {name: peer.advance for name, peer in peers.items()}
        median = interleaved(runs, repeats)
    row: dict[str, Any] = {
        "case": case.name,
        "parameters": parameters,
        "kernels": len(captured.program.kernels),
        "capture_s": round(capture_s, 1),
        "code_s": round(load_s, 1),
        "ours_ms": round(median["ours"], 3),
        "eager_ms": round(median["default"], 3),
        "eager_fused_ms": round(median["fused"], 3),
        "ratio": round(median["ours"] / min(median["default"], median["fused"]), 3),
        "bar": case.bar,
    }
    if with_compile:
        reached = "compile" in median
        row["compiled_ms"] = round(median["compile"], 3) if reached else f"failed: {problem}"
        row["to_compiled"] = round(median["ours"] / median["compile"], 3) if reached else None
        row["goal"] = case.goal
    return row


def compiled(case: Case) -> tuple[TorchRun, str | None]:
    """PyTorch with its loss compiled and one step done, and why that failed, if it did."""
    start = time.perf_counter()
    run = TorchRun(case, fused=True, compiled=True)
    try:
        run.advance(1)
    except Exception as error:  # noqa: BLE001 - whatever a compiler trips over, the other columns are still wanted
        reason = str(error).strip().splitlines()[0][:100] if str(error).strip() else type(error).__name__
        say(f"{case.name}: torch.compile failed: {reason}")
        return run, reason
    say(f"{case.name}: torch.compile took {time.perf_counter() - start:.0f} s")
    return run, None


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", default="", help="names of cases, separated by commas")
    parser.add_argument("--compile", action="store_true", help="also time torch.compile")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    wanted = [name for name in options.only.split(",") if name]
    cases = {case.name: case for case in all_cases()}
    if unknown := [name for name in wanted if name not in cases]:
        parser.error(f"there is no case {', '.join(unknown)}; there are {', '.join(cases)}")
    rows, failed = [], 0
    for name in wanted or cases:
        say(f"{name} ...")
        try:
            rows.append(measure(cases[name], options.threads, options.repeats, options.compile))
        except Exception:  # noqa: BLE001 - the other cases are still wanted
            traceback.print_exc()
            failed += 1
    show(rows, options.threads, options.json, NOTE)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
