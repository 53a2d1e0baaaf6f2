"""Time of one generated token against eager PyTorch, on the same threads, interleaved in the same run.

    python benchmarks/decoding.py [--threads 2] [--repeats 7] [--only llama-10m-1,llama-10m-8] [--json]

Both sides feed one token of every row, attend to a cache of all tokens before it, and take the most probable token
next. PyTorch runs the models of ``transformers`` as a user would write it, in inference mode, with the cache that grows
and with the one of fixed size; the faster is the peer. States are not hashed here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, StaticCache

import tallystick as ts
from tallystick.engine import Engine

PROMPT, NEW = 32, 96  # tokens


@dataclass(frozen=True)
class Case:
    """A Llama, how many rows it continues, and how tokens are chosen on our side."""

    name: str
    rows: int
    sampling: ts.Greedy | ts.Sample
    hidden: int = 384
    layers: int = 6
    heads: int = 6
    key_heads: int = 6
    vocabulary: int = 1024

    def model(self) -> LlamaForCausalLM:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.hidden * 8 // 3,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_heads,
            max_position_embeddings=PROMPT + NEW,
        )
        return LlamaForCausalLM(config).eval()


def cases() -> list[Case]:
    drawn = ts.Sample(temperature=0.8, top_k=50, top_p=0.95)
    return [
        Case("llama-10m-1", 1, ts.Greedy()),
        Case("llama-10m-8", 8, ts.Greedy()),
        Case("llama-10m-gqa-1", 1, ts.Greedy(), key_heads=2),
        Case("llama-10m-32k-words-1", 1, ts.Greedy(), vocabulary=32000),
        Case("llama-10m-32k-words-1-drawn", 1, drawn, vocabulary=32000),
    ]


class TorchRun:
    """Eager decoding from the same prompts, again and again."""

    def __init__(self, model: LlamaForCausalLM, prompts: Tensor, fixed: bool) -> None:
        self.model, self.prompts, self.fixed = model, prompts, fixed

    def __call__(self) -> float:
        """Seconds for all new tokens but the first, which entering the prompts yields."""
        with torch.inference_mode():
            config = self.model.config
            cache = StaticCache(config=config, max_cache_len=PROMPT + NEW) if self.fixed else DynamicCache()
            token = self.forward(self.prompts, cache)
            start = time.perf_counter()
            for _ in range(NEW - 1):
                token = self.forward(token, cache)
            return time.perf_counter() - start

    def forward(self, tokens: Tensor, cache: DynamicCache | StaticCache) -> Tensor:
        return self.model(input_ids=tokens, past_key_values=cache).logits[:, -1].argmax(-1, keepdim=True)


class OurRun:
    """The decode program from the same state, again and again."""

    def __init__(self, job: ts.Job, threads: int) -> None:
        self.captured = job.captured
        self.engine = Engine(job.captured.program, threads=threads)

    def __call__(self) -> float:
        """Seconds for all new tokens but the first."""
        with self.engine.start(self.captured.state, self.captured.constants) as session:
            session.advance(1)
            start = time.perf_counter()
            session.advance(NEW - 1)
            return time.perf_counter() - start


def measure(case: Case, threads: int, repeats: int) -> dict[str, float | str | int]:
    """Medians of interleaved runs, in milliseconds per token of a row."""
    model = case.model()
    prompts = torch.randint(0, case.vocabulary, (case.rows, PROMPT))
    start = time.perf_counter()
    job = ts.GenerationJob(model=model, prompts=prompts.tolist(), new_tokens=NEW, sampling=case.sampling).job()
    capture_s = time.perf_counter() - start
    start = time.perf_counter()
    runs: dict[str, Callable[[], float]] = {"ours": OurRun(job, threads)}
    compile_s = time.perf_counter() - start
    runs |= {"growing": TorchRun(model, prompts, False), "fixed": TorchRun(model, prompts, True)}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            seconds = run()
            if repeat:
                times[name].append(seconds / (NEW - 1))
    median = {name: statistics.median(found) * 1e3 for name, found in times.items()}
    return {
        "case": case.name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "rows": case.rows,
        "kernels": len(job.captured.program.kernels),
        "capture_s": round(capture_s, 2),
        "compile_s": round(compile_s, 2),
        "ours_ms": round(median["ours"], 3),
        "torch_growing_ms": round(median["growing"], 3),
        "torch_fixed_ms": round(median["fixed"], 3),
        "ratio": round(median["ours"] / min(median["growing"], median["fixed"]), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", help="names of cases, separated by commas")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    wanted = set(filter(None, options.only.split(",")))
    rows = [measure(c, options.threads, options.repeats) for c in cases() if not wanted or c.name in wanted]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{platform.processor() or platform.machine()}, {options.threads} threads, torch {torch.__version__}")
    print("ratio = our time per token / the faster of PyTorch's two\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


if __name__ == "__main__":
    main()
