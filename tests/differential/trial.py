"""One job, run by eager PyTorch and by ours, and how that ended."""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tallystick as ts
from differential.aftermath import left_behind
from differential.comparison import compare
from differential.eager import Finished, numbers, run_eagerly
from differential.program import Program, opened
from differential.snapshot import snapshot

EQUAL, REFUSED, INVALID, BOTH, REPORTED, NAN, BEYOND = (
    "equal",
    "refused",
    "invalid in eager PyTorch",
    "raised in both",
    "reported",
    "NaN in both",
    "beyond eager PyTorch",
)
SILENT, WRONG_EXCEPTION, UNNOTICED, FALSE_REPORT, AFTERMATH = (
    "SILENT DIFFERENCE",
    "WRONG EXCEPTION",
    "ONLY EAGER PYTORCH RAISED",
    "FALSE REPORT",
    "LEFT BEHIND",
)
CRASHED, ENDLESS = "CRASHED", "NO END"
FAULTS = (SILENT, WRONG_EXCEPTION, UNNOTICED, FALSE_REPORT, AFTERMATH, CRASHED, ENDLESS)
# What eager PyTorch's kernels cannot do although it is well defined: a program that writes it out may.
_CANNOT = re.compile(
    r"does not support sparse gradients|not implemented|is not implemented|NotImplemented|not currently supported"
)
NOISES = (1, 2, 3)
MOST = 4  # differences that are told of one job


@dataclass
class Ending:
    """``kinds``: one of the good ones, or every fault; ``details`` a line for each thing that is said.

    ``steps`` were compared, and the losses were ``worst`` apart, relatively.
    """

    kinds: list[str]
    details: list[str] = field(default_factory=list)
    steps: int = 0
    worst: float = 0.0

    @property
    def faults(self) -> list[str]:
        return [kind for kind in self.kinds if kind in FAULTS]


@dataclass
class Ours:
    """How our run ended: an error before the first step or after it, or a run."""

    run: Any = None
    refusal: BaseException | None = None
    report: BaseException | None = None

    @property
    def error(self) -> BaseException | None:
        return self.refusal or self.report


def attempt(program: Program) -> Ending:
    """Run a program both ways and compare. Never raises for what the program or ours does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _attempt(program)


def _attempt(program: Program) -> Ending:
    try:
        program.make()
        data, job = program.data(), program.job()
    except Exception as error:  # noqa: BLE001 - whatever a random program raises
        return Ending([INVALID], [f"{type(error).__name__}: {first_line(error)}"])
    eager, raised = None, None
    try:
        eager = run_eagerly(program.make(), data, program.job())
    except Exception as error:  # noqa: BLE001
        raised = error
    folder = Path(tempfile.mkdtemp())
    try:
        made = program.make()
        before = snapshot(*made, data)
        ours = run_ours(made, data, job, folder)
        ending = judged(program, ours, eager, raised, job)
        lines = left_behind(program, made, before, ours.run, eager if ending.kinds == [EQUAL] else None, data, job)
        if lines:
            ending.kinds = [*ending.faults, AFTERMATH]
            ending.details += lines
        return ending
    finally:
        shutil.rmtree(folder)


def run_ours(made: tuple, data: dict[str, Any], job: dict[str, Any], folder: Path) -> Ours:
    """Capture and run."""
    model, loss, _ = made
    try:
        training = ts.TrainingJob(model=model, loss=loss, data=data, **job)
        training.capture()
    except Exception as error:  # noqa: BLE001
        return Ours(refusal=error)
    try:
        return Ours(run=training.run(folder / "run", threads=1))
    except Exception as error:  # noqa: BLE001
        return Ours(report=error)


def judged(program: Program, ours: Ours, eager: Finished | None, raised: Exception | None, job: dict) -> Ending:
    """How both ended, in one word or more."""
    if ours.error is not None and not isinstance(ours.error, ts.UsageError):
        at = "capture" if ours.refusal else "run"
        return Ending([WRONG_EXCEPTION], [f"{at}: {type(ours.error).__name__}: {first_line(ours.error)}"])
    if raised is not None:
        said = f"eager PyTorch: {type(raised).__name__}: {first_line(raised)}"
        if ours.error is not None:
            return Ending([BOTH if ours.refusal else REPORTED], [said, f"ours: {first_line(ours.error)}"])
        if isinstance(raised, ts.CaptureError):
            return Ending([SILENT], [f"draws what is not drawn the same: {first_line(raised)}"])
        return Ending([BEYOND if _CANNOT.search(str(raised)) else UNNOTICED], [said])
    assert eager is not None
    if ours.refusal is not None:
        return Ending([REFUSED], [message(ours.refusal)])
    has_nan = bool(np.isnan(eager.records["loss"]).any())
    if ours.report is not None:
        kind = NAN if has_nan and "NaN" in str(ours.report) else FALSE_REPORT
        return Ending([kind], [first_line(ours.report)])
    if has_nan:
        return Ending([SILENT], ["the loss is NaN in eager PyTorch, and ours ran to the end"])
    others = [run_eagerly(program.make(), program.data(), program.job(), noise) for noise in NOISES]
    mine = finished(ours.run)
    # What the model holds only later is no state of the job; what the loss holds is, if ours says so.
    names = [name for name in eager.start if name in mine.state or not name.startswith("loss.")]
    compared = compare(mine, eager, others, names, grain_of(job))
    kinds = [SILENT] if compared.differences else [EQUAL]
    return Ending(kinds, compared.differences[:MOST], compared.steps, compared.worst)


def grain_of(job: dict[str, Any]) -> float:
    """The relative size of the last digit of the coarsest type in which trained tensors are stored."""
    storage = job.get("storage")
    kinds = () if storage is None else (storage.trained, storage.moments)
    return max(({"bf16": 2.0**-8, "f16": 2.0**-11}.get(kind, 0.0) for kind in kinds), default=0.0)


def finished(run: Any) -> Finished:
    """Our run in the same terms."""
    weights, averages = run.weights(), {}
    state = run.state()
    if any(name.startswith("ema.") for name in state):
        averages = {name.removeprefix("ema."): state[name] for name in state if name.startswith("ema.")}
    scaled = {
        name: array.astype(np.float64) * weights[name + "_scale"] if name + "_scale" in weights else widened(array)
        for name, array in weights.items()
    }
    scaled |= {name: widened(array) for name, array in state.items() if name.startswith("loss.")}
    return Finished(None, run.records, scaled, averages, {})  # type: ignore[arg-type]


def widened(array: np.ndarray) -> np.ndarray:
    """Narrow floats as float64; bfloat16 comes as its bits."""
    if array.dtype == np.uint16:
        return numbers(torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16))
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def message(error: BaseException) -> str:
    """What an error says, without the user's line before it."""
    lines = str(error).splitlines() or [type(error).__name__]
    rest = [line.strip() for line in lines[1:] if not line.strip().startswith("reached from")]
    return rest[0] if rest and re.match(r"\S+\.py:\d+", lines[0]) else lines[0]


def first_line(error: BaseException) -> str:
    return message(error)[:300]


def show(path: str) -> None:
    """Run the job of a file that was written, and print how it ended."""
    torch.set_num_threads(1)
    ending = attempt(opened(Path(path)))
    print("; ".join(ending.kinds), *ending.details, sep="\n  ")  # noqa: T201
