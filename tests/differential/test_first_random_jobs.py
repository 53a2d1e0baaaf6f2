"""Random jobs train as eager PyTorch trains them, or are refused: nothing in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from differential.chunks import FIRST_FEW, FIRST_MANY, faults_of


@pytest.mark.parametrize("first", FIRST_FEW)
def test_random_jobs(first: int, tmp_path: Path) -> None:
    faults = faults_of(first, tmp_path)
    assert not faults, faults


@pytest.mark.slow
@pytest.mark.parametrize("first", FIRST_MANY)
def test_many_random_jobs(first: int, tmp_path: Path) -> None:
    faults = faults_of(first, tmp_path)
    assert not faults, faults
