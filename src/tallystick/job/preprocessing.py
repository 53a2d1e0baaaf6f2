"""Preprocessing jobs: data in, prepared data and a receipt out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tallystick.capture.extra import TorchExtra
from tallystick.ir.captured import Captured
from tallystick.job.job import DEFAULT_SEGMENT_STEPS, Job, check_name, check_steps
from tallystick.job.progress import Listener, Reporter
from tallystick.job.retention import KeepStates
from tallystick.job.run import Run
from tallystick.job.starts import Resume

if TYPE_CHECKING:
    from tallystick.capture.steps.dataset import CapturedDataset


@dataclass(frozen=True, kw_only=True, eq=False)
class PreprocessingJob:
    """Prepare a dataset. ``Run.state()`` of a finished run holds what ``prepare`` made, by name.

    ``prepare``        called ``prepare(**rows)`` with the names of the data and ``chunk_rows`` rows of each; returns a
                       dict of tensors with as many rows. Plain PyTorch; ``tallystick.preprocess`` has building blocks
    ``data``           arrays by name (numpy, also memory-mapped, or torch); row i of each belongs together
    ``chunk_rows``     how many rows a step makes
    ``standardised``   names of the data whose columns get mean 0 and standard deviation 1 before ``prepare`` sees them;
                       the statistics are those of all rows, for which the data is read three times instead of once
    ``seed``           of what ``prepare`` draws at random
    ``segment_steps``  the state is hashed and stored every so many steps
    ``name``           what people call the job

    Raises: JobError for numbers that cannot be. What ``prepare`` does is looked at by ``capture``.
    """

    prepare: Callable[..., Any] = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)
    chunk_rows: int
    standardised: Sequence[str] = ()
    seed: int = 0
    segment_steps: int = DEFAULT_SEGMENT_STEPS
    name: str = "dataset"

    def __post_init__(self) -> None:
        check_steps(self.chunk_rows, self.segment_steps)
        check_name(self.name)

    @property
    def title(self) -> str:
        return self.name

    def capture(self) -> Captured:
        """The program that makes a chunk of rows, with its start. Made once. Raises: CaptureError."""
        return self._dataset.captured

    def job(self) -> Job:
        """The captured program as a job. Raises: CaptureError."""
        return self._job

    @cached_property
    def _dataset(self) -> CapturedDataset:
        with TorchExtra():
            from tallystick.capture.steps.dataset import capture_dataset

        return capture_dataset(
            prepare=self.prepare,
            data=self.data,
            chunk_rows=self.chunk_rows,
            standardised=self.standardised,
            seed=self.seed,
        )

    @cached_property
    def _job(self) -> Job:
        return Job(self._dataset.captured, self._dataset.steps, self.segment_steps, self.name)

    def run(
        self,
        folder: str | Path,
        *,
        threads: int | None = None,
        resume: Resume = True,
        keep_states: KeepStates = None,
        progress: Listener | None = None,
    ) -> Run:
        """Capture and prepare; see ``Job.run``."""
        with Reporter(progress).capturing():
            job = self.job()
        return job.run(folder, threads=threads, resume=resume, keep_states=keep_states, progress=progress)
