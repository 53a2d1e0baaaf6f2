"""What a claim is about: consecutive steps of a job, and the state they start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tallystick.errors import IntegrityError, JobError
from tallystick.job.folder import RunFolder
from tallystick.job.hashing import JobHasher
from tallystick.job.job import Job
from tallystick.job.receipt import load_receipt
from tallystick.job.states import aligned


@dataclass(frozen=True)
class Stretch:
    """Steps ``first_step`` to ``first_step + steps - 1`` of a job; ``start`` is the state before the first of them."""

    job: Job
    first_step: int
    steps: int
    start: Sequence[np.ndarray]

    @property
    def middle(self) -> int:
        """The step half way."""
        return self.first_step + self.steps // 2

    def number(self, step: int) -> int:
        """A step of the program as a number within the stretch. Raises: JobError."""
        if not 0 <= step - self.first_step < self.steps:
            last = self.first_step + self.steps - 1
            raise JobError(f"step {step} is not among those claimed: give {self.first_step} to {last}")
        return step - self.first_step


def whole_job(job: Job) -> Stretch:
    """All steps of a job."""
    return Stretch(job, 0, job.steps, job.captured.state)


def segment_of(folder: str | Path, step: int | None) -> Stretch:
    """The segment of a finished run that a step lies in (None: the one in the middle of the run).

    Raises: JobError for a step that the run does not have, ProtocolError for a damaged folder, IntegrityError if the
    state that the segment starts from was not kept.
    """
    job = Job.open(folder)
    step = job.steps // 2 if step is None else step
    if not 0 <= step < job.steps:
        raise JobError(f"step {step} is not one of this run's {job.steps}: give 0 to {job.steps - 1}")
    segment = step // job.segment_steps
    first = job.manifest.boundary_step(segment)
    steps = job.manifest.boundary_step(segment + 1) - first
    return Stretch(job, first, steps, stored_state(Path(folder), job, segment))


def stored_state(folder: Path, job: Job, boundary: int) -> Sequence[np.ndarray]:
    """The state of a run at a boundary."""
    root = load_receipt(folder).boundary_roots[boundary]
    captured, files = job.captured, RunFolder(folder)
    states = files.state_files(captured.program.states, captured.state_names, JobHasher())
    try:
        return aligned(states.open(root))
    except IntegrityError as error:
        raise IntegrityError(
            f"{error}. The disputed segment starts there: choose a step in another segment with --at, "
            "or dispute the whole job with FILE.py:JOB"
        ) from None
