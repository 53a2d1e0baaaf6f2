"""Which seeds the tests run: 60 jobs in ``make test``, 2,000 in ``make test-all``.

They are in two files, for the tests of a file share one process.
"""

from __future__ import annotations

from pathlib import Path

import torch

from differential.program import draw, loaded, written
from differential.trial import attempt

FEW, MANY = 60, 2000
PART = 10
FIRST_FEW, FURTHER_FEW = range(0, FEW // 2, PART), range(FEW // 2, FEW, PART)
FIRST_MANY, FURTHER_MANY = range(FEW, MANY // 2, PART), range(MANY // 2, MANY, PART)


def faults_of(first: int, folder: Path) -> str:
    """One text for every job of a part that goes wrong, with its seed and its code; empty if none does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = []
    for seed in range(first, first + PART):
        tree = draw(seed)
        text = written(tree)
        ending = attempt(loaded(text, folder, f"job_{seed}"))
        if ending.faults:
            found.append("\n".join([f"seed {seed}: {tree}", *ending.faults, *ending.details, text]))
    torch.set_num_threads(threads)
    return "\n\n".join(found)
