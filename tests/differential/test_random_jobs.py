"""Random jobs train as eager PyTorch trains them, or are refused: nothing in between."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from differential.program import draw, loaded, written
from differential.trial import attempt

FEW, MANY, CHUNK = 60, 2000, 20
PART = 15


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def faults_of(seeds: range, folder: Path) -> list[str]:
    """One text for every job that goes wrong."""
    found = []
    for seed in seeds:
        tree = draw(seed)
        text = written(tree)
        ending = attempt(loaded(text, folder, f"job_{seed}"))
        if ending.faults:
            found.append("\n".join([f"seed {seed}: {tree}", *ending.faults, *ending.details, text]))
    return found


@pytest.mark.parametrize("first", range(0, FEW, PART))
def test_random_jobs(first: int, tmp_path: Path) -> None:
    faults = faults_of(range(first, first + PART), tmp_path)
    assert not faults, "\n\n".join(faults)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FEW, MANY, CHUNK))
def test_many_random_jobs(first: int, tmp_path: Path) -> None:
    faults = faults_of(range(first, first + CHUNK), tmp_path)
    assert not faults, "\n\n".join(faults)
