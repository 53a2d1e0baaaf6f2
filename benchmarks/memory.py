"""Memory of one training step against eager PyTorch at several sequence lengths, with as many tokens a step.

    python benchmarks/memory.py [--threads 2] [--only gpt-1m-2048,llama-eager-1024] [--time] [--json]

Memory is the growth of each side's own process while it trains (Linux only). PyTorch's attention is the one it picks
itself, which keeps no weights; ``llama-eager`` writes attention out, as many models of the transformers library do.
With ``--time`` steps are timed too, interleaved in one run.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from cases import Case
from cases.gpt_models import case as gpt_case
from cases.transformer_models import next_token_loss
from harness.case_memory import memory_of
from harness.interleaving import interleaved
from harness.output import say, show, usable_cores
from harness.peak_memory import MIB, in_child
from harness.torch_run import TorchRun, capture
from tallystick.engine import Engine

NOTE = "ratio = our growth / PyTorch's. MiB."
TOKENS = 2048  # of one step
LENGTHS = (128, 512, 1024, 2048)
GOAL = 1.2
GPTS = {"gpt-1m": (128, 4, 5), "gpt-10m": (384, 6, 6)}
VOCABULARY = 1024


def cases() -> list[Case]:
    gpts = [
        gpt_case(f"{name}-{length}", *size, batch=TOKENS // length, context=length)
        for name, size in GPTS.items()
        for length in LENGTHS
    ]
    return gpts + [llama_case(attention, length) for attention in ("sdpa", "eager") for length in (512, 1024)]


def llama_case(attention: str, length: int) -> Case:
    """A small Llama with grouped queries; ``attention`` is a name of the transformers library."""
    model, rows = partial(llama, attention, length), partial(tokens, length)
    return Case(f"llama-{attention}-{length}", model, next_token_loss, rows, TOKENS // length, bar=GOAL, goal=GOAL)


def llama(attention: str, length: int) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            intermediate_size=704,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=length,
            attn_implementation=attention,  # pyright: ignore[reportCallIssue]
        )
    )


@cache
def tokens(length: int) -> dict[str, np.ndarray]:
    return {"ids": np.random.default_rng(0).integers(0, VOCABULARY, (16, length), dtype=np.int32)}


def measure(case: Case, threads: int, timed: bool) -> dict[str, Any]:
    """One row of the table."""
    ours, theirs = (in_child(__file__, side, case.name, threads) for side in ("ours", "torch"))
    row: dict[str, Any] = {"case": case.name, "ours_mib": None, "torch_mib": None, "ratio": None}
    if ours is not None and theirs is not None:
        row |= {"ours_mib": round(ours / MIB), "torch_mib": round(theirs / MIB), "ratio": round(ours / theirs, 2)}
    return row | (times(case, threads) if timed else {})


def times(case: Case, threads: int) -> dict[str, Any]:
    captured, peer = capture(case), TorchRun(case, fused=True)
    with Engine(captured.program, threads=threads).start(captured.state, captured.constants) as session:
        median = interleaved({"ours": session.advance, "torch": peer.advance}, 5)
    times = {f"{name}_ms": round(value, 1) for name, value in median.items()}
    return times | {"time_ratio": round(median["ours"] / median["torch"], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--only", default="", help="names of cases, separated by commas")
    parser.add_argument("--time", action="store_true", help="time steps, too")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", nargs=2, metavar=("SIDE", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    known = {case.name: case for case in cases()}
    if options.memory_of is not None:
        side, name = options.memory_of
        print(json.dumps(memory_of(known[name], side, options.threads)))
        return
    names = options.only.split(",") if options.only else list(known)
    rows: list[dict[str, Any]] = []
    for name in names:
        say(f"{name} ...")
        rows.append(measure(known[name], options.threads, options.time))
    show(rows, options.threads, options.json, NOTE)


if __name__ == "__main__":
    main()
