"""Time of one training step against eager PyTorch, on the same threads, interleaved in the same run.

    python benchmarks/training_step.py [--threads 2] [--repeats 9] [--only digits,gpt-1m] [--json]

Both sides do the same work: fetch a batch, forward, backward, clip the gradient norm, AdamW. PyTorch runs as a user
would write it; its default AdamW and its fused one are both timed, and the faster is the peer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import digits
import gpt
import tallystick as ts
from tallystick.engine import Engine

MEASURED_S = 0.4  # length of one timed slice
MATCHING_STEPS = 2


@dataclass(frozen=True)
class Case:
    """A model with its data, and how many rows a step takes."""

    name: str
    model: Callable[[], nn.Module]
    loss: Callable[..., Tensor]
    data: dict[str, np.ndarray]
    batch_size: int


class MLP(nn.Module):
    """Three layers on flattened digits images."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def mlp_loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x / 16), y)


def cases() -> list[Case]:
    images = digits.split()[0]
    text = gpt.windows(gpt.standard_library())
    long_text = {"text": text}
    return [
        Case("mlp", MLP, mlp_loss, images, 256),
        Case("digits", digits.DigitsNet, digits.loss, images, 64),
        Case("gpt-1m", gpt.GPT, gpt.loss, long_text, 16),
        Case("gpt-10m", lambda: gpt.GPT(width=384, heads=6, layers=6), gpt.loss, long_text, 16),
    ]


class TorchRun:
    """Eager training, one step at a time."""

    def __init__(self, case: Case, fused: bool) -> None:
        torch.manual_seed(0)
        self.case = case
        self.model = case.model()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=0.01, fused=fused)
        self.data = {name: torch.from_numpy(rows).to(dtype_of(rows)) for name, rows in case.data.items()}
        self.order = torch.randperm(len(next(iter(self.data.values()))))
        self.step = 0

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            start = self.step * self.case.batch_size
            rows = self.order[torch.arange(start, start + self.case.batch_size) % len(self.order)]
            self.optimizer.zero_grad()
            loss = self.case.loss(self.model, **{name: data[rows] for name, data in self.data.items()})
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.step += 1


def dtype_of(rows: np.ndarray) -> torch.dtype:
    return torch.float32 if rows.dtype.kind == "f" else torch.int64


def time_per_step(advance: Callable[[int], None], steps: int) -> float:
    start = time.perf_counter()
    advance(steps)
    return (time.perf_counter() - start) / steps


def measure(case: Case, threads: int, repeats: int) -> dict[str, float | str | int]:
    """Medians of interleaved slices, in milliseconds per step."""
    torch.manual_seed(0)
    start = time.perf_counter()
    captured = ts.capture_training(
        model=case.model(),
        loss=case.loss,
        optimizer=ts.optim.AdamW(lr=1e-3, weight_decay=0.01, clip_norm=1.0),
        data=case.data,
        batch_size=case.batch_size,
        steps=1 << 16,
        seed=0,
    )
    capture_s = time.perf_counter() - start
    start = time.perf_counter()
    engine = Engine(captured.program, threads=threads)
    compile_s = time.perf_counter() - start
    peers = {"default": TorchRun(case, fused=False), "fused": TorchRun(case, fused=True)}
    with engine.start(captured.state, captured.constants) as session:
        runs: dict[str, Callable[[int], None]] = {"ours": session.advance} | {
            name: peer.advance for name, peer in peers.items()
        }
        steps = {}
        for name, advance in runs.items():
            advance(MATCHING_STEPS)
            steps[name] = max(1, round(MEASURED_S / time_per_step(advance, MATCHING_STEPS)))
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(repeats):
            for name, advance in runs.items():
                times[name].append(time_per_step(advance, steps[name]))
    median = {name: statistics.median(slices) * 1e3 for name, slices in times.items()}
    return {
        "case": case.name,
        "parameters": sum(p.numel() for p in peers["fused"].model.parameters()),
        "kernels": len(captured.program.kernels),
        "capture_s": round(capture_s, 2),
        "compile_s": round(compile_s, 2),
        "ours_ms": round(median["ours"], 3),
        "torch_default_ms": round(median["default"], 3),
        "torch_fused_ms": round(median["fused"], 3),
        "ratio": round(median["ours"] / min(median["default"], median["fused"]), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=9)
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
    print("ratio = our step time / the faster of PyTorch's two\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


if __name__ == "__main__":
    main()
