"""Run random jobs by eager PyTorch and by ours; exit status 1 if any of them went wrong in silence or otherwise.

PYTHONPATH=tests python -m differential [--jobs 2000] [--seed 0] [--json] [--keep FOLDER] [--no-shrink]
PYTHONPATH=tests python -m differential --each "momentum encoder" [--jobs 3]     that part of the grammar alone, 3 seeds
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from differential.alone import alone
from differential.nodes import Tree
from differential.program import draw, written
from differential.shrinking import shrunk, shrunk_lines
from differential.tally import Tally
from differential.trial import Ending
from differential.workers import Workers


def trees(seeds: range, words: str | None) -> Iterator[Tree]:
    """The random jobs of some seeds; or every production that is named by some words, with every seed."""
    for seed in seeds:
        if words is None:
            yield draw(seed)
        else:
            yield from alone(seed, words)


def smallest(tree: Tree, ending: Ending, workers: Workers, seconds: float) -> str:
    """The smallest job that was found with the same kinds of faults, written out."""

    def fails(text: str) -> bool:
        return workers.attempt(text).faults == ending.faults

    small = shrunk(tree, lambda candidate: fails(written(candidate)), seconds)
    return shrunk_lines(written(small), fails, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m differential", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="how many jobs")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first; each next one has the next")
    parser.add_argument("--each", metavar="WORDS", help="every production whose name holds these words, alone")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON at the end")
    parser.add_argument("--keep", type=Path, help="a folder for the shrunk jobs that went wrong")
    parser.add_argument("--workers", type=int, default=2, help="processes side by side")
    parser.add_argument("--no-shrink", action="store_true", help="do not make them smaller")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for making one of them smaller")
    arguments = parser.parse_args()
    tally, began = Tally(), time.monotonic()
    say = sys.stderr if arguments.json else sys.stdout
    seeds = range(arguments.seed, arguments.seed + arguments.jobs)
    with Workers(arguments.workers) as workers:
        for tree, ending in workers.all(trees(seeds, arguments.each)):
            tally.add(str(tree.seed) if arguments.each is None else f"{tree.seed}: {tree}", ending)
            if ending.faults:
                told = "\n  ".join([*ending.faults, *ending.details])
                print(f"seed {tree.seed}: {tree}\n  {told}", file=say, flush=True)
                small = written(tree)
                if not arguments.no_shrink:
                    small = smallest(tree, ending, workers, arguments.seconds)
                print("", small, sep="\n", file=say, flush=True)
                if arguments.keep:
                    arguments.keep.mkdir(parents=True, exist_ok=True)
                    (arguments.keep / f"job_{tree.seed}_{tally.jobs}.py").write_text(small)
            if tally.jobs % 20 == 0:
                seconds = time.monotonic() - began
                print(f"{tally.jobs} jobs, {len(tally.faults)} went wrong, {seconds:.0f} s", file=say, flush=True)
    print(*tally.lines(), sep="\n", file=say)
    if arguments.json:
        sys.stdout.write(json.dumps(tally.as_dict(), indent=1, ensure_ascii=False) + "\n")
    sys.exit(bool(tally.faults))


if __name__ == "__main__":
    main()
