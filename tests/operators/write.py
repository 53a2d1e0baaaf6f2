"""Try every operator on PyTorch's samples: PYTHONPATH=tests python -m operators.write [operator ...]

Writes ``tests/operators/results.json`` after every operator and, at the end, the reference page made of it. Without
names all operators are tried; ``--missing`` tries those that have no results yet, which goes on after an interruption.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import torch

from operators import page
from operators.overloads import arrivals, describe, is_listed, known_overloads
from operators.results import RESULTS, Results, Tally, load, save, tally
from operators.samples import MOST, operators, samples_of, with_gradients
from operators.trial import try_sample
from tallystick.capture.tracing.draws import DRAWS

_described: set[str] = set()  # by this process, which need not do it again
LOOKED_AT = 2  # samples of each operator in which operators of ATen are looked for


def try_operator(name: str, most: int) -> tuple[str, Tally, dict[str, dict[str, Any]]]:
    """One task: an operator's tally, and what capture makes of the operators of ATen that its first samples reach."""
    torch.set_num_threads(1)
    try:
        samples = list(samples_of(name, most))
    except (AssertionError, NotImplementedError, RuntimeError):  # PyTorch makes none on this machine
        return name, Tally(nothing=1, most=most), {}
    found = {}
    for sample in samples[:LOOKED_AT]:
        found |= arrivals(sample, with_gradients(sample) if sample.differentiable else sample.call)
    new = {op: arguments for op, arguments in found.items() if is_listed(op) and op.name() not in _described}
    described = {op.name(): describe(op, arguments) for op, arguments in new.items()}
    _described.update(described)
    return name, tally((try_sample(sample) for sample in samples), most), described


def try_all(names: list[str], most: int, processes: int) -> Iterator[tuple[str, Tally, dict[str, dict[str, Any]]]]:
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        for future in as_completed([pool.submit(try_operator, name, most) for name in names]):
            yield future.result()


def starting_point() -> Results:
    if RESULTS.exists():
        return load()
    return Results(torch.__version__, {}, {})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("operators", nargs="*", metavar="operator")
    parser.add_argument("--missing", action="store_true", help="only operators without results")
    parser.add_argument("--most", type=int, default=MOST, help="samples of one operator")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    results = starting_point()
    results.torch = torch.__version__
    names = arguments.operators or list(operators())
    if arguments.missing:
        names = [name for name in names if name not in results.operators]
    if not arguments.operators:
        results.operators = {name: entry for name, entry in results.operators.items() if name in operators()}
    started = time.monotonic()
    for number, (name, entry, described) in enumerate(try_all(names, arguments.most, arguments.processes), 1):
        results.operators[name] = entry
        for overload, found in described.items():
            # Arguments that no program holds, such as float64, say nothing of an operator that takes others.
            if found["is"] != "refused" or results.overloads.get(overload, found)["is"] == "refused":
                results.overloads[overload] = found
        save(results)
        forward, backward = entry.forward, entry.backward
        seconds = time.monotonic() - started
        sys.stdout.write(
            f"{number}/{len(names)} {name}: {forward.passed}/{forward.tried} forwards, "
            f"{backward.passed}/{backward.tried} backwards ({seconds:.0f} s)\n"
        )
        sys.stdout.flush()
    for operator in known_overloads():
        if is_listed(operator) and (operator in DRAWS or operator.name() not in results.overloads):
            results.overloads[operator.name()] = describe(operator, None)
    save(results)
    page.PAGE.write_text(page.written(results), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
