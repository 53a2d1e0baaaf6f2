"""Contractions, each alone in a program, against the operators of PyTorch (MKL and oneDNN) that do the same.

    python benchmarks/contractions.py [--threads 1,2] [--repeats 15] [--only conv] [--json]

Matrix products of the sizes that training and decoding a small GPT need, attention's batched products, skinny and
transposed ones, and convolutions with both gradients. Slices of both sides are interleaved in one run. All cases are
gone through in several rounds, so that somebody else's work of some seconds is less
likely to spoil a case; figures are medians over the slices of all rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.output import say
from tallystick.engine import Engine
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.kernels import Fold, Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

ROUNDS = 3
SLICE_S = 0.06  # length of one timed slice
SETTLE_S = 0.005  # before it, so that the other side's threads no longer spin in wait for work
BLOCK = 512


@dataclass(frozen=True)
class Case:
    """A contraction: loop extents, views of values 0 and 1, their shapes, and PyTorch's way to the same result."""

    name: str
    out_shape: tuple[int, ...]
    reduce_shape: tuple[int, ...]
    views: tuple[View, View]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    peer: Callable[[Tensor, Tensor], Tensor]

    @property
    def flops(self) -> int:
        return 2 * prod(self.out_shape) * prod(self.reduce_shape)

    def program(self) -> Program:
        """One step makes the result from two constants."""
        body, merge, epilogue = CodeBuilder(), CodeBuilder(), CodeBuilder()
        fold = Fold(
            (0,),
            1,
            BLOCK,
            merge.build(merge.fadd(merge.acc(0), merge.acc(1)))[0],
            epilogue.build(epilogue.acc())[0],
        )
        code, _ = body.build(body.ffma(body.load(0), body.load(1), body.acc()))
        views = tuple(View(view.value + 1, view.address) for view in self.views)
        kernel = Kernel(self.out_shape, self.reduce_shape, views, code, (DType.F32,), fold)
        result = TensorType(DType.F32, self.out_shape)
        constants = tuple(TensorType(DType.F32, shape) for shape in self.shapes)
        return Program((result,), constants, (kernel,), (3,))


def matmul(m: int, k: int, n: int, layout: str = "nn") -> Case:
    """(m, k) @ (k, n); in the layout ``t`` stands for an operand that is stored transposed."""
    a_across, b_across = layout[0] == "t", layout[1] == "t"
    a = View(0, Address(0, (1, 0, m) if a_across else (k, 0, 1)))
    b = View(1, Address(0, (0, k, 1) if b_across else (0, 1, n)))
    shapes = ((k, m) if a_across else (m, k), (n, k) if b_across else (k, n))

    def peer(x: Tensor, y: Tensor) -> Tensor:
        return torch.mm(x.T if a_across else x, y.T if b_across else y)

    return Case(f"mm {layout} {m}x{k}x{n}", (m, n), (k,), (a, b), shapes, peer)


def batched(batch: int, m: int, k: int, n: int, layout: str = "nn") -> Case:
    """(batch, m, k) @ (batch, k, n)"""
    a_across, b_across = layout[0] == "t", layout[1] == "t"
    a = View(0, Address(0, (m * k, *((1, 0, m) if a_across else (k, 0, 1)))))
    b = View(1, Address(0, (k * n, *((0, k, 1) if b_across else (0, 1, n)))))
    shapes = ((batch, k, m) if a_across else (batch, m, k), (batch, n, k) if b_across else (batch, k, n))

    def peer(x: Tensor, y: Tensor) -> Tensor:
        return torch.bmm(x.transpose(1, 2) if a_across else x, y.transpose(1, 2) if b_across else y)

    return Case(f"bmm {layout} {batch}x{m}x{k}x{n}", (batch, m, n), (k,), (a, b), shapes, peer)


def convolution(n: int, c: int, size: int, o: int, k: int = 3, stride: int = 1) -> list[Case]:
    """Forward and gradients of a padded convolution of (n, c, size, size) with o filters of k x k."""
    p = k // 2
    rows = (size + 2 * p - k) // stride + 1
    x_shape, y_shape, w_shape = (n, c, size, size), (n, o, rows, rows), (o, c, k, k)
    weight = Address(0, (0, c * k * k, 0, 0, k * k, k, 1))
    # forward: (n, o, h, w) over (c, kh, kw)
    guards = (Guard(-p, (0, 0, stride, 0, 0, 1, 0), size), Guard(-p, (0, 0, 0, stride, 0, 0, 1), size))
    walk = (c * size * size, 0, stride * size, stride, size * size, size, 1)
    x = Address(-p * size - p, walk, (), guards)
    name = f"{n}x{c}x{size}x{size}->{o} k{k}" + (f" s{stride}" if stride > 1 else "")

    def forward(x: Tensor, w: Tensor) -> Tensor:
        return F.conv2d(x, w, stride=stride, padding=p)

    cases = [
        Case(f"conv forward {name}", y_shape, (c, k, k), (View(0, x), View(1, weight)), (x_shape, w_shape), forward)
    ]
    backward = torch.ops.aten.convolution_backward
    if stride == 1:  # input gradient: (n, c, h, w) over (o, kh, kw)
        guards = (Guard(p, (0, 0, 1, 0, 0, -1, 0), rows), Guard(p, (0, 0, 0, 1, 0, 0, -1), rows))
        walk = (o * rows * rows, 0, rows, 1, rows * rows, -rows, -1)
        gradient = Address(p * rows + p, walk, (), guards)
        turned = Address(0, (0, k * k, 0, 0, c * k * k, k, 1))
        x_like = torch.empty(x_shape)

        def input_gradient(y: Tensor, w: Tensor) -> Tensor:
            return backward(y, x_like, w, None, [1, 1], [p, p], [1, 1], False, [0, 0], 1, [True, False, False])[0]

        views = (View(0, gradient), View(1, turned))
        cases.append(Case(f"conv dinput {name}", x_shape, (o, k, k), views, (y_shape, w_shape), input_gradient))
    # weight gradient: (o, c, kh, kw) over (n, h, w)
    guards = (Guard(-p, (0, 0, 1, 0, 0, stride, 0), size), Guard(-p, (0, 0, 0, 1, 0, 0, stride), size))
    gradient = Address(0, (rows * rows, 0, 0, 0, o * rows * rows, rows, 1))
    walk = (0, size * size, size, 1, c * size * size, stride * size, stride)
    x = Address(-p * size - p, walk, (), guards)
    w_like = torch.empty(w_shape)

    def weight_gradient(y: Tensor, x: Tensor) -> Tensor:
        strides = [stride, stride]
        return backward(y, x, w_like, None, strides, [p, p], [1, 1], False, [0, 0], 1, [False, True, False])[1]

    views = (View(0, gradient), View(1, x))
    cases.append(Case(f"conv dweight {name}", w_shape, (n, rows, rows), views, (y_shape, x_shape), weight_gradient))
    return cases


def all_cases() -> list[Case]:
    cases = [matmul(size, size, size) for size in (256, 512, 1024, 2048)]
    for width in (128, 384):  # GPT of 1 M and 10 M parameters, 2048 tokens
        for k, n in ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width), (width, 100)):
            cases.append(matmul(2048, k, n, "nt"))  # forward: weights are stored (n, k)
            cases.append(matmul(2048, n, k, "nn"))  # gradient of the input
            cases.append(matmul(n, 2048, k, "tn"))  # gradient of the weights
    cases += [batched(64, 128, 32, 128, "nt"), batched(64, 128, 128, 32, "nn"), batched(64, 128, 128, 32, "tn")]
    for few in (1, 8):  # decoding, one token at a time: a linear layer for one sequence and for eight
        cases += [matmul(few, k, n, "nt") for k, n in ((384, 1152), (384, 1536), (1536, 384), (768, 3072))]
        cases.append(matmul(few, 384, 1536, "nn"))
    for tokens in (128, 512):  # a token looks at what came before, in six heads and in eight sequences of them
        for heads in (6, 48):
            cases += [batched(heads, 1, 64, tokens, "nt"), batched(heads, 1, tokens, 64, "nn")]
    for m, k, n in ((2048, 384, 1), (1536, 384, 4), (2048, 384, 16), (16, 384, 2048), (32, 2048, 32), (1000, 17, 1000)):
        cases += [matmul(m, k, n, layout) for layout in ("nn", "nt", "tn")]  # skinny, and not of round sizes
    cases += [matmul(256, 64, 512, "nt"), matmul(256, 512, 512, "nt"), matmul(512, 256, 512, "tn")]  # MLP
    for sizes in ((64, 1, 8, 32), (64, 32, 8, 64), (64, 64, 4, 128), (32, 64, 32, 64), (16, 256, 7, 256)):
        cases += convolution(*sizes)
    return [*cases, *convolution(32, 64, 32, 128, 3, 2), *convolution(16, 64, 28, 128, 1)]


@dataclass
class Slices:
    """Seconds of one contraction, by slice, of both sides; and what compiling it took."""

    ours: list[float] = field(default_factory=list)
    torch: list[float] = field(default_factory=list)
    compile_s: float = 0.0

    def row(self, case: Case, threads: int) -> dict[str, float | str]:
        """Medians, in microseconds."""
        ours, theirs = statistics.median(self.ours), statistics.median(self.torch)
        return {
            "case": case.name,
            "threads": threads,
            "ours_us": round(ours * 1e6, 1),
            "torch_us": round(theirs * 1e6, 1),
            "ratio": round(ours / theirs, 3),
            "ours_gflops": round(case.flops / ours / 1e9, 1),
            "torch_gflops": round(case.flops / theirs / 1e9, 1),
            "compile_s": round(self.compile_s, 2),
        }


def measure(case: Case, threads: int, repeats: int, slices: Slices) -> None:
    """Add interleaved slices to those of earlier rounds."""
    rng = np.random.default_rng(0)
    operands = [rng.standard_normal(shape).astype(np.float32) for shape in case.shapes]
    tensors = [torch.from_numpy(operand) for operand in operands]
    program = case.program()
    start = time.perf_counter()
    engine = Engine(program, threads=threads)
    slices.compile_s = max(slices.compile_s, time.perf_counter() - start)  # later rounds find the code in the cache

    def peer(times: int) -> None:
        for _ in range(times):
            case.peer(tensors[0], tensors[1])

    with engine.start([np.zeros(case.out_shape, np.float32)], operands) as session:
        session.advance(1)
        expected = case.peer(tensors[0], tensors[1]).numpy()
        error = float(np.abs(session.state()[0] - expected).max() / np.abs(expected).max())
        assert error < 1e-4, f"{case.name} is off by {error}"
        sides = ((session.advance, slices.ours), (peer, slices.torch))
        counts = [repetitions(run) for run, _ in sides]
        for _ in range(repeats):
            for (run, times), count in zip(sides, counts, strict=True):
                times.append(seconds(run, count) / count)


def repetitions(run: Callable[[int], None]) -> int:
    """How many runs make a slice."""
    run(2)
    return max(1, round(SLICE_S / (seconds(run, 3) / 3)))


def seconds(run: Callable[[int], None], times: int) -> float:
    time.sleep(SETTLE_S)
    run(1)
    start = time.perf_counter()
    run(times)
    return time.perf_counter() - start


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--threads", default=",".join({"1", str(min(2, os.cpu_count() or 1))}), help="numbers of threads"
    )
    parser.add_argument("--repeats", type=int, default=15, help="slices of each side, over all rounds")
    parser.add_argument("--only", default="", help="measure cases whose name contains this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    counts = sorted(int(count) for count in options.threads.split(","))
    results: list[dict[str, float | str]] = []
    if not options.json:
        facts = Engine(matmul(1, 1, 2).program(), threads=1).describe()
        print(f"{facts['cpu']}, {facts['isa']}, LLVM {facts['llvm']}, PyTorch {torch.__version__}, ")
        print(f"Python {platform.python_version()}; microseconds and GFLOP/s; ratio below 1: faster than PyTorch\n")
        print(f"{'':44} {'threads':>7} {'ours':>9} {'torch':>9} {'ratio':>6} {'ours':>7} {'torch':>7}")
    work = [(case, threads) for case in all_cases() if options.only in case.name for threads in counts]
    taken = [Slices() for _ in work]
    for number in range(ROUNDS):
        say(f"round {number + 1} of {ROUNDS}, {len(work)} cases ...")
        for (case, threads), slices in zip(work, taken, strict=True):
            torch.set_num_threads(threads)
            measure(case, threads, -(-options.repeats // ROUNDS), slices)
    for (case, threads), slices in zip(work, taken, strict=True):
        row = slices.row(case, threads)
        results.append(row)
        if not options.json:
            numbers = f"{threads:7} {row['ours_us']:9.1f} {row['torch_us']:9.1f} {row['ratio']:6.2f}"
            print(f"{case.name:44} {numbers} {row['ours_gflops']:7.1f} {row['torch_gflops']:7.1f}", flush=True)
    if options.json:
        print(json.dumps(results, indent=1))
        return
    for threads in counts:
        mine = {str(row["case"]): float(row["ratio"]) for row in results if row["threads"] == threads}
        if mine:
            worst = max(mine, key=lambda name: mine[name])
            mean = statistics.geometric_mean(mine.values())
            print(f"{threads} threads, {len(mine)} cases: geometric mean {mean:.2f}, worst {mine[worst]:.2f} ({worst})")


if __name__ == "__main__":
    main(sys.argv[1:])
