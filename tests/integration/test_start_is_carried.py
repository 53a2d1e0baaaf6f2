"""A run that was begun on one processor goes on on another, whose PyTorch draws other weights from the same seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tallystick as ts
from tallystick.engine import Target

HERE = Path(__file__).resolve()
WORKER = """
import json, sys
sys.path.insert(0, {here!r})
from test_start_is_carried import work
print(json.dumps(work(*json.loads(sys.argv[1]))))
"""
ROWS, WIDTH, STEPS = 32, 24, 12


def drawn_job() -> ts.TrainingJob:
    """A seeded model whose weights are normal draws, 16 and more at a time: those differ between instruction sets."""
    import numpy as np
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Dropout(0.1), nn.Linear(WIDTH, 1))
    for p in model.parameters():
        nn.init.normal_(p, std=0.1)
    x = np.random.default_rng(0).standard_normal((ROWS, WIDTH), dtype=np.float32)
    return ts.TrainingJob(
        name="drawn",
        model=model,
        loss=lambda model, x: model(x).square().mean(),
        optimizer=ts.optim.AdamW(lr=1e-2),
        data={"x": x},
        batch_size=8,
        steps=STEPS,
        segment_steps=3,
    )


class StopHereError(Exception):
    pass


def interrupt(progress: ts.Progress) -> None:
    if progress.phase == "run" and progress.segment == 2:
        raise StopHereError


def work(folder: str, isa: str, resume: bool | str, stops: bool) -> dict[str, object]:
    """What a process that generates code for an instruction set finds; nothing else tells it which processor it has."""
    from tallystick.engine import Engine, backends

    backends.register("forced", lambda program, threads: Engine(program, threads, target=Target(isa)))
    os.environ[backends.CHOICE] = "forced"
    job = drawn_job()
    told: dict[str, object] = {"start": job.job().manifest.start_root}
    try:
        run = job.run(folder, resume=resume, progress=interrupt if stops else None)  # type: ignore[arg-type]
    except StopHereError:
        return {**told, "stopped": True}
    except ts.JobError as error:
        return {**told, "refused": str(error)}
    return {**told, "from": run.start_step, "roots": list(run.receipt.roots)}


def on_processor(torch_kernels: str, isa: str, folder: Path, resume: bool | str, stops: bool = False) -> dict:
    """The same in a process where PyTorch is held to the kernels of an instruction set, too."""
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": torch_kernels}
    done = subprocess.run(
        [sys.executable, "-c", WORKER.format(here=str(HERE.parent)), json.dumps([str(folder), isa, resume, stops])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_run_begun_elsewhere_goes_on_from_the_start_it_carries(tmp_path: Path) -> None:
    if "avx2" not in Target.available():
        pytest.skip("this processor has no avx2")
    widest = Target.available()[0]
    folder = tmp_path / "run"
    first = on_processor("default", widest, folder, True, stops=True)
    assert first["stopped"]
    # THE OTHER PROCESSOR
    refused = on_processor("avx2", "avx2", folder, True)
    if first["start"] != refused["start"]:  # PyTorch drew other weights
        assert "another start" in refused["refused"] and "resume='stored'" in refused["refused"]
    else:
        assert refused["from"] == 6
        return
    resumed = on_processor("avx2", "avx2", folder, "stored")
    assert resumed["from"] == 6
    whole = on_processor("default", widest, tmp_path / "whole", True)
    assert resumed["roots"] == whole["roots"]
    report = ts.verify(folder, full=True)
    assert report.ok, report.findings
