"""Run random jobs by eager PyTorch and by ours; exit status 1 if any of them went wrong in silence or otherwise.

PYTHONPATH=tests python -m differential [--jobs 2000] [--seed 0] [--json] [--keep FOLDER] [--no-shrink]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from differential.nodes import Tree
from differential.program import draw, loaded, written
from differential.shrinking import shrunk
from differential.tally import Tally
from differential.trial import Ending, attempt


def run(tree: Tree, folder: Path) -> Ending:
    """Write a tree out, and run it."""
    return attempt(loaded(written(tree), folder, f"job_{tree.seed}"))


def smallest(tree: Tree, ending: Ending, folder: Path, seconds: float) -> Tree:
    """The smallest tree with the same kinds of faults."""

    def fails(candidate: Tree) -> bool:
        return run(candidate, folder).faults == ending.faults

    return shrunk(tree, fails, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m differential", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="how many jobs")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first; each next one has the next")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON at the end")
    parser.add_argument("--keep", type=Path, help="a folder for the shrunk jobs that went wrong")
    parser.add_argument("--no-shrink", action="store_true", help="do not make them smaller")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for making one of them smaller")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tally, began = Tally(), time.monotonic()
    say = sys.stderr if arguments.json else sys.stdout
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(arguments.seed, arguments.seed + arguments.jobs):
            tree = draw(seed)
            ending = run(tree, folder)
            tally.add(seed, ending)
            if ending.faults:
                told = "\n  ".join([*ending.faults, *ending.details])
                print(f"seed {seed}: {tree}\n  {told}", file=say, flush=True)
                if not arguments.no_shrink:
                    tree = smallest(tree, ending, folder, arguments.seconds)
                    print(f"  shrunk to {tree}\n", written(tree), sep="\n", file=say, flush=True)
                if arguments.keep:
                    arguments.keep.mkdir(parents=True, exist_ok=True)
                    (arguments.keep / f"job_{seed}.py").write_text(written(tree))
            if tally.jobs % 20 == 0:
                seconds = time.monotonic() - began
                print(f"{tally.jobs} jobs, {len(tally.faults)} went wrong, {seconds:.0f} s", file=say, flush=True)
    print(*tally.lines(), sep="\n", file=say)
    if arguments.json:
        sys.stdout.write(json.dumps(tally.as_dict(), indent=1, ensure_ascii=False) + "\n")
    sys.exit(bool(tally.faults))


if __name__ == "__main__":
    main()
