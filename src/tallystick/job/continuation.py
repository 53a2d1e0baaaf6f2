"""Jobs that go on where a finished training run ended: its state, slot by slot, and a program that counts on.

The new job's ``steps`` are all steps, those of the run included. Its program adds the number of steps done to its own
count, so batches, schedules, draws and records go on as if there had been one longer run. Records are as long as all
steps and begin with those of the run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tallystick.errors import JobError, ProtocolError
from tallystick.ir.captured import Captured
from tallystick.job.documents import MOST_RUNS
from tallystick.job.folder import RunFolder
from tallystick.job.hashing import JobHasher
from tallystick.job.job import Job
from tallystick.job.manifest import LOSS_SLOT, RECORDS, Manifest, SlotFact
from tallystick.job.model_file import PREFIX
from tallystick.job.opening import read_constant
from tallystick.job.receipt import Receipt, load_receipt
from tallystick.job.run import Run
from tallystick.job.sharing import share_run
from tallystick.job.starts import Resume
from tallystick.spec.tensors import TensorType
from tallystick.store import FolderLock

SCHEDULES = "schedule."

MUST_AGREE = (
    "Model, kind of optimizer, storage, ema and metrics must be those of the run; data, batch size, loss, learning "
    "rate and schedule may be others"
)


@dataclass(frozen=True)
class Earlier:
    """A finished training run that another job goes on from."""

    folder: Path

    @staticmethod
    def of(run: Run | str | Path) -> Earlier:
        """The run, or the one in a folder. Raises: JobError unless it is a finished one of a training job."""
        earlier = Earlier(Path(run.folder if isinstance(run, Run) else run))
        fact = next((fact for fact in earlier.manifest.state if fact.name == LOSS_SLOT), None)
        if fact is None or fact.shape != (earlier.steps,):
            raise JobError(f"{earlier.folder} holds no run of a training job: only such a run can be gone on from")
        return earlier

    @cached_property
    def receipt(self) -> Receipt:
        """Raises: JobError if there is none, or an unsound one."""
        try:
            receipt = load_receipt(self.folder)
        except ProtocolError as error:
            raise JobError(
                f"continue_from={str(self.folder)!r} is no finished run: {error}. Let it run to its end first"
            ) from error
        if problems := receipt.problems():
            raise JobError(f"the receipt in {self.folder} does not hold, so nothing can go on from it: {problems[0]}")
        return receipt

    @property
    def manifest(self) -> Manifest:
        return self.receipt.manifest

    @property
    def steps(self) -> int:
        """All steps so far, also those of the runs before it."""
        return self.manifest.steps_before + self.manifest.steps

    @property
    def updates(self) -> int | None:
        """How many updates they were, as far as its tables tell: they have one entry for each."""
        lengths = {fact.shape[0] for fact in self.manifest.constants if fact.name.startswith(SCHEDULES)}
        return lengths.pop() if len(lengths) == 1 else None

    @property
    def runs(self) -> int:
        """How many runs there are until here."""
        folder, manifest, count = RunFolder(self.folder), self.manifest, 1
        while manifest.after is not None and count <= MOST_RUNS:
            folder = RunFolder(folder.before)
            manifest, count = load_receipt(folder.path).manifest, count + 1
        return count

    def constant(self, fact: SlotFact) -> np.ndarray:
        """One of its constants. Raises: IntegrityError if it is damaged."""
        own = next(own for own in self.manifest.constants if own.name == fact.name)
        return read_constant(RunFolder(self.folder), own, own.type, JobHasher())


def continued_job(
    earlier: Earlier, capture: Callable[[int], Captured], steps: int, accumulate: int, segment_steps: int, name: str
) -> Job:
    """The job of the steps that are left; ``capture`` makes its program, given how many are done.

    Raises: JobError if the job does not fit the run, CaptureError; IntegrityError if the run's files are damaged.
    """
    done = earlier.steps
    if steps <= done:
        raise JobError(
            f"steps={steps} counts all steps, also the {done} that {earlier.folder} has done: give more than {done}"
        )
    updates = earlier.updates
    if done % accumulate or (updates is not None and updates * accumulate != done):
        kept = f"keep accumulate={done // updates}" if updates else f"{done} steps must be a multiple of it"
        raise JobError(f"accumulate={accumulate} does not fit the {done} steps of {earlier.folder}: {kept}")
    if earlier.runs >= MOST_RUNS:
        raise JobError(f"{MOST_RUNS} runs go on from each other in {earlier.folder}: no more are verified")
    captured = capture(done)
    require_slots(earlier, captured)
    state = Run(earlier.folder).state()
    started = replace(
        captured,
        state=[
            extended(state[name], type) if name.startswith(RECORDS) else np.array(state[name])
            for name, type in zip(captured.state_names, captured.program.states, strict=True)
        ],
        constants=[
            earlier.constant(SlotFact.of(name, type)) if name.startswith(PREFIX) else array
            for name, type, array in zip(
                captured.constant_names, captured.program.constants, captured.constants, strict=True
            )
        ],
    )
    return Job(started, steps - done, segment_steps, name, earlier.manifest.id.hex())


def extended(record: np.ndarray, type: TensorType) -> np.ndarray:
    """A longer record that begins with this one. Shapes: (steps so far,) -> (all steps,)."""
    longer = np.zeros(type.shape, record.dtype)
    longer[: len(record)] = record
    return longer


def require_slots(earlier: Earlier, captured: Captured) -> None:
    """Raises: JobError, naming them, if state or weights are others than the run's. Records may be longer."""
    program, manifest = captured.program, earlier.manifest
    mine = described(map(SlotFact.of, captured.state_names, program.states))
    theirs = described(manifest.state)
    frozen = map(SlotFact.of, captured.constant_names, program.constants)
    mine |= described(fact for fact in frozen if fact.name.startswith(PREFIX))
    theirs |= described(fact for fact in manifest.constants if fact.name.startswith(PREFIX))
    state = {fact.name for fact in manifest.state}
    moved = [name for name in mine if name in theirs and (name in captured.state_names) != (name in state)]
    odd = {
        "the run has no": [name for name in mine if name not in theirs],
        "this job has no": [name for name in theirs if name not in mine],
        "of another type or shape is": [name for name in mine if name in theirs and mine[name] != theirs[name]],
        "trained in one and frozen in the other is": moved,
    }
    if any(odd.values()):
        listed = "; ".join(f"{words} {some(names)}" for words, names in odd.items() if names)
        raise JobError(f"this job cannot go on from {earlier.folder}: {listed}. {MUST_AGREE}.")


def described(facts: Iterable[SlotFact]) -> dict[str, tuple[object, ...]]:
    """Types by name; a record's length is left out."""
    return {
        fact.name: (fact.dtype, len(fact.shape)) if fact.name.startswith(RECORDS) else (fact.dtype, *fact.shape)
        for fact in facts
    }


def some(names: list[str]) -> str:
    """The first of them, weights before what follows from them."""
    names = sorted(names, key=lambda name: not name.startswith(PREFIX))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def keep_earlier(earlier: Earlier, folder: RunFolder, job: Job, resume: Resume) -> None:
    """Put the earlier run into ``before``, sharing files where the file system can.

    Does nothing in a folder that holds another job and is to be resumed, which is refused later. Raises: JobError.
    """
    source, target = RunFolder(earlier.folder), RunFolder(folder.before)
    if folder.path.resolve() == source.path.resolve():
        raise JobError(f"{folder.path} is the run to go on from: a run that goes on needs a folder of its own")
    folder.create()
    with FolderLock(folder.path):
        if not resume:
            folder.clear()
        if source.path.resolve() == target.path.resolve() or holds_another(folder, job):
            return
        if target.receipt.exists() and load_receipt(target.path) != earlier.receipt:
            shutil.rmtree(target.path)
        share_run(source, target)
        wanted = {bytes.fromhex(fact.digest) for fact in job.manifest.constants}
        source.constants.share(wanted, folder.constants)


def holds_another(folder: RunFolder, job: Job) -> bool:
    """Whether a folder holds another job than this one, or something that cannot be read."""
    try:
        existing = folder.read_manifest()
    except ProtocolError:
        return True
    return existing is not None and existing != job.manifest
