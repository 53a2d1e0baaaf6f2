"""The other half of the random jobs of ``test_first_random_jobs.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from differential.chunks import FURTHER_FEW, FURTHER_MANY, faults_of


@pytest.mark.parametrize("first", FURTHER_FEW)
def test_random_jobs(first: int, tmp_path: Path) -> None:
    faults = faults_of(first, tmp_path)
    assert not faults, faults


@pytest.mark.slow
@pytest.mark.parametrize("first", FURTHER_MANY)
def test_many_random_jobs(first: int, tmp_path: Path) -> None:
    faults = faults_of(first, tmp_path)
    assert not faults, faults
