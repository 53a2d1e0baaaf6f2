"""Whole training runs reproduce their pinned state roots: see FORMAT.md."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from replay_models import JOBS

PINS = json.loads((Path(__file__).parent / "roots.json").read_text())


@pytest.mark.parametrize("name", JOBS)
def test_a_training_run_reproduces_its_roots(name: str, tmp_path: Path) -> None:
    job = JOBS[name]()
    assert job.job().manifest.start_root == PINS[name]["start"], "the job itself changed, not only its run"
    run = job.run(tmp_path / "run")
    assert run.losses is not None and np.isfinite(run.losses).all()
    assert run.losses[-5:].mean() < 0.8 * run.losses[:5].mean(), "a run that learns nothing pins nothing"
    wrong = [n for n, (mine, pin) in enumerate(zip(run.receipt.roots, PINS[name]["roots"], strict=True)) if mine != pin]
    assert wrong == [], f"segments {wrong} end in other states than pinned"
