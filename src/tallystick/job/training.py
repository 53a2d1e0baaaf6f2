"""Training jobs: plain PyTorch in, a trained model and a receipt out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tallystick.ir.captured import Captured
from tallystick.job.continuation import Earlier, continued_job, keep_earlier
from tallystick.job.diagnosis import OnNan, check_on_nan
from tallystick.job.folder import RunFolder
from tallystick.job.job import DEFAULT_SEGMENT_STEPS, Job, check_name, check_steps
from tallystick.job.progress import Listener, Reporter
from tallystick.job.retention import KeepStates
from tallystick.job.run import Run
from tallystick.job.starts import Resume


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingJob:
    """Train a torch module.

    ``model``          any ``nn.Module``; it is not changed
    ``loss``           called ``loss(model, **batch)`` with the names of the data; returns a scalar tensor, or with
                       ``metrics`` a pair ``(loss, {name: number})``
    ``optimizer``      from ``tallystick.optim``; or several, by what the names of their parameters begin with. With a
                       ``loss`` for each of them, by the same names, a step is a phase for each in turn
    ``data``           arrays by name (numpy, also memory-mapped, or torch); row i of each belongs together
    ``batch_size``     rows per step, drawn in a shuffled order
    ``shuffle``        "once": one order that the seed decides, the same in every epoch; "epoch": a new one in every
                       epoch; None: the rows as they are
    ``steps``          how many steps to train: one batch, forward and backward, each
    ``segment_steps``  the state is hashed and stored every so many steps
    ``seed``           of the order of the rows and of dropout
    ``name``           what people call the job; the name of the model's class if it is not given
    ``accumulate``     the optimizer moves once per so many steps, by the mean of their gradients; schedules count
                       its moves. ``steps`` must be a multiple of it
    ``ema``            decay of an average of the trained weights, or ``ts.optim.EMA(...)``; see ``Run.model(ema=True)``
    ``storage``        which tensors are stored narrow: ``ts.Storage(...)``
    ``metrics``        names of numbers that are recorded at every step beside the loss; see ``Run.records``
    ``on_nan``         "stop" or "record": what a run does at a loss that is NaN; see ``Job.run``. It is no part of what
                       the job is

    Raises: JobError for numbers that cannot be. What the model does is looked at by ``capture``.
    """

    model: Any = field(repr=False)
    loss: Callable[..., Any] = field(repr=False)
    optimizer: Any
    data: Mapping[str, Any] = field(repr=False)
    batch_size: int
    steps: int
    segment_steps: int = DEFAULT_SEGMENT_STEPS
    seed: int = 0
    name: str | None = None
    accumulate: int = 1
    ema: Any = None
    storage: Any = None
    metrics: Sequence[str] = ()
    on_nan: OnNan = "stop"
    shuffle: Literal["once", "epoch", "none"] | None = "once"

    def __post_init__(self) -> None:
        check_steps(self.steps, self.segment_steps)
        check_name(self.title)
        check_on_nan(self.on_nan)

    @property
    def title(self) -> str:
        """The job's name, given or made."""
        return type(self.model).__name__.lower() if self.name is None else self.name

    def capture(self) -> Captured:
        """The program that one training step is, with its start. Made once. Raises: CaptureError."""
        return self._captured

    def job(self) -> Job:
        """The captured program as a job. Raises: CaptureError."""
        return self._job

    @cached_property
    def _captured(self) -> Captured:
        return self._capture_from(0)

    def _capture_from(self, first_step: int) -> Captured:
        """The program whose step 0 is this step of the job."""
        from tallystick.capture import capture_training

        return capture_training(
            model=self.model,
            loss=self.loss,
            optimizer=self.optimizer,
            data=self.data,
            batch_size=self.batch_size,
            steps=self.steps,
            seed=self.seed,
            accumulate=self.accumulate,
            ema=self.ema,
            storage=self.storage,
            metrics=self.metrics,
            shuffle=self.shuffle,
            first_step=first_step,
        )

    @cached_property
    def _job(self) -> Job:
        return Job(self._captured, self.steps, self.segment_steps, self.title)

    def continued(self, run: Run | str | Path) -> Job:
        """The job of the steps that are left after a finished run, from the state in which that one ended.

        ``steps`` counts all steps, also those that are done. Raises: CaptureError; JobError if the run is not finished
        or has other slots; IntegrityError if its files are damaged.
        """
        return self._job_after(Earlier.of(run))

    def _job_after(self, earlier: Earlier) -> Job:
        return continued_job(earlier, self._capture_from, self.steps, self.accumulate, self.segment_steps, self.title)

    def run(
        self,
        folder: str | Path,
        *,
        threads: int | None = None,
        resume: Resume = True,
        keep_states: KeepStates = None,
        progress: Listener | None = None,
        on_nan: OnNan | None = None,
        continue_from: Run | str | Path | None = None,
    ) -> Run:
        """Capture and train; see ``Job.run``. ``Run.model()`` is a copy of ``model`` with the trained weights.

        ``on_nan``         None: as the job says
        ``continue_from``  a finished run, or its folder: the job goes on where that one ended, with its weights,
                           moments, counters and records. ``steps`` counts all steps, also those that are done. The run
                           is kept in the folder ``before`` of this one, and the receipt names it
        """
        on_nan = self.on_nan if on_nan is None else check_on_nan(on_nan)
        earlier = None if continue_from is None else Earlier.of(continue_from)
        with Reporter(progress, self.steps).capturing():
            job = self.job() if earlier is None else self._job_after(earlier)
        if earlier is not None:
            keep_earlier(earlier, RunFolder(folder), job, resume)
        run = job.run(
            folder,
            threads=threads,
            resume=resume,
            keep_states=keep_states,
            progress=progress,
            module=self.model,
            on_nan=on_nan,
        )
        run.others = self._other_modules()
        return run

    def _other_modules(self) -> dict[str, Any]:
        from tallystick.capture.reach.modules import modules_beside

        return modules_beside(self.model, self.loss)
