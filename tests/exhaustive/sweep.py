"""Try elementary functions on all 2^32 inputs: PYTHONPATH=tests python -m exhaustive.sweep

Powers, of two operands, are tried on 2^28 chosen pairs. Prints a line per function, writes them into the table of the
reference page, and exits with 1 if one misses its bar.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from exhaustive.evaluation import BLOCK, applying_program, sweeping_program
from exhaustive.functions import FUNCTIONS, Function
from exhaustive.inputs import operands_of
from exhaustive.measure import Figures, Words, complaints, count_decreasing, measure
from exhaustive.page import PAGE, update
from tallystick.engine import Engine

PART = 1 << 28  # inputs of one task
PAIRS = 1 << 28


def results_of(function: Function, part: int) -> Iterator[tuple[tuple[Words, ...], Words]]:
    """Operands and results of one part of all inputs, block by block."""
    blocks = PART // BLOCK
    if function.operands == 1:
        engine = Engine(sweeping_program(function), threads=1)
        with engine.start([np.zeros(BLOCK, np.int32)], [], step=part * blocks) as session:
            for block in range(part * blocks, (part + 1) * blocks):
                session.advance(1)
                words = (np.arange(BLOCK, dtype=np.uint32) + np.uint32(block * BLOCK)).astype(np.uint32)
                yield (words,), session.state()[0].view(np.uint32)
    else:
        engine = Engine(applying_program(function, BLOCK), threads=1)
        for block in range(part * blocks, (part + 1) * blocks):
            operands = operands_of(function, BLOCK, seed=block)
            with engine.start([np.zeros(BLOCK, np.int32)], [o.view(np.int32) for o in operands]) as session:
                session.advance(1)
                yield operands, session.state()[0].view(np.uint32)


def try_part(name: str, part: int) -> tuple[str, int, Figures, tuple[float, float]]:
    """One task: figures of a part, and the results of its first and last input."""
    function = FUNCTIONS[name]
    figures = Figures()
    first, last = np.float32(np.nan), np.float32(np.nan)
    with np.errstate(all="ignore"):
        for number, (operands, results) in enumerate(results_of(function, part)):
            doubles = (operand.view(np.float32).astype(np.float64) for operand in operands)
            figures.add(measure(function, operands, results, function.reference(*doubles)))
            floats = results.view(np.float32)
            if function.monotone:
                ahead = floats if operands[0][0] < 1 << 31 else floats[::-1]  # in the order of the inputs' values
                figures.decreasing += count_decreasing(ahead) + in_wrong_order(operands[0][0], float(last), floats[0])
            first = floats[0] if number == 0 else first
            last = floats[-1]
    return name, part, figures, (float(first), float(last))


def in_wrong_order(word: int, before: float, after: float) -> int:
    """1 if results of a word and the one before it are not in the order of their values."""
    return int(after < before if word < 1 << 31 else after > before)


def sweep(names: list[str], processes: int) -> Iterator[tuple[Function, Figures]]:
    """Figures of functions, in the order they are finished."""
    tasks = [(n, p) for n in names for p in range((1 << 32 if FUNCTIONS[n].operands == 1 else PAIRS) // PART)]
    left = {name: sum(n == name for n, _ in tasks) for name in names}
    parts: dict[str, dict[int, tuple[Figures, tuple[float, float]]]] = defaultdict(dict)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(try_part, *task) for task in tasks]):
            name, part, figures, ends = future.result()
            parts[name][part] = (figures, ends)
            left[name] -= 1
            if not left[name]:
                yield FUNCTIONS[name], joined(FUNCTIONS[name], [parts[name][p] for p in sorted(parts[name])])


def joined(function: Function, parts: list[tuple[Figures, tuple[float, float]]]) -> Figures:
    """Figures of all parts together."""
    total = Figures()
    for figures, _ in parts:
        total.add(figures)
    if function.monotone:
        for number, ((_, (_, before)), (_, (after, _))) in enumerate(pairwise(parts), 1):
            total.decreasing += 0 if number * PART == 1 << 31 else in_wrong_order(number * PART, before, after)
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("functions", nargs="*", default=list(FUNCTIONS), choices=list(FUNCTIONS), metavar="function")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table goes")
    arguments = parser.parse_args()
    failed = False
    started = time.monotonic()
    for function, figures in sweep(arguments.functions, arguments.processes):
        found = complaints(function, figures)
        failed |= bool(found)
        seconds = time.monotonic() - started
        verdict = "; ".join(found) or "good"
        sys.stdout.write(
            f"{function.name}: {max(figures.worst, figures.worst_huge):.3f} ulp, {verdict} ({seconds:.0f} s)\n"
        )
        sys.stdout.flush()
        if not found:
            update(arguments.page, function, figures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
