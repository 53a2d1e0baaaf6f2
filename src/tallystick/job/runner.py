"""The run loop: advance, hash, store, note; over and over, so that a crash at any instant loses one segment at most."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallystick.commitment import StateHasher
from tallystick.errors import JobError, ProtocolError
from tallystick.job.diagnosis import DATA, OnNan, nan_loss
from tallystick.job.failed_checks import check_slots, refuse_failed_checks
from tallystick.job.finishing import finish
from tallystick.job.folder import RunFolder
from tallystick.job.hashing import JobHasher
from tallystick.job.journal import Entry
from tallystick.job.manifest import LOSS_SLOT, Manifest
from tallystick.job.progress import Listener, Reporter
from tallystick.job.retention import KeepStates, Retention
from tallystick.job.run import Run
from tallystick.job.signing import signing_key
from tallystick.job.slices import advance_in_slices
from tallystick.job.starts import STORED, Resume, another_start, differs_in_start_alone, from_stored_start
from tallystick.job.states import aligned
from tallystick.spec.digests import state_root
from tallystick.spec.tensors import DType
from tallystick.store import FolderLock, require_space

if TYPE_CHECKING:
    from tallystick.engine.backends import AnyEngine
    from tallystick.job.job import Job

INSTEAD = "Choose another folder, or start anew in this one (resume=False), which deletes what it holds."


def run_job(
    job: Job,
    folder: str | Path,
    threads: int | None,
    resume: Resume,
    keep_states: KeepStates,
    progress: Listener | None,
    module: Any,
    on_nan: OnNan = "stop",
) -> Run:
    """See ``Job.run``."""
    run_folder = RunFolder(folder)
    run_folder.create()
    with FolderLock(run_folder.path):
        run_folder.sweep()
        if not resume:
            run_folder.clear()
        if resume == STORED:
            job = from_stored_start(job, run_folder)
        runner = Runner(job, run_folder, keep_states, progress, on_nan)
        first = runner.prepare()
        if not runner.finished():
            key = signing_key()  # before hours of work, not after them
            final = runner.run(first, threads)
            finish(job, run_folder, final, runner.entries, runner.facts, key)
    return Run(run_folder.path, module, start_step=job.manifest.boundary_step(first), seconds=runner.seconds)


class Runner:
    """One call of ``Job.run``: what is known about the run so far, and the loop that goes on with it."""

    def __init__(
        self, job: Job, folder: RunFolder, keep_states: KeepStates, progress: Listener | None, on_nan: OnNan
    ) -> None:
        self.job = job
        self.folder = folder
        self.on_nan = on_nan
        self.manifest = job.manifest
        self.reporter = Reporter(progress, job.steps, self.manifest.segments)
        self.hasher = JobHasher()
        program = job.captured.program
        self.state_hasher = StateHasher(program, self.hasher)
        self.files = folder.state_files(program.states, job.captured.state_names, self.hasher)
        self.retention = Retention.of(keep_states, self.manifest.segments, self.files.nbytes)
        self.loss_slot = loss_slot(job)
        self.checks = check_slots(self.manifest)
        self.entries: list[Entry] = []
        self.kept: set[bytes] = set()
        self.state: Sequence[np.ndarray] = job.captured.state
        self.facts: dict[str, Any] = {"started": now()}
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the call began."""
        return time.monotonic() - self.began

    # BEFORE

    def prepare(self) -> int:
        """Store the job's files or check that they are the same job's; returns the segment to go on with."""
        for note in self.job.captured.notes:
            self.reporter.note(note)
        self.reporter.tell("write")
        existing = self.existing_manifest()
        if existing is None:
            self.require_space()
        elif self.manifest != existing:
            raise JobError(f"{self.difference(existing)}. {INSTEAD}")
        self.folder.write_job(self.job.captured, self.manifest, self.hasher)
        self.find_start()
        self.drop_unwanted_states()
        return len(self.entries)

    def difference(self, existing: Manifest) -> str:
        """What to say about a folder that holds another job."""
        path = self.folder.path
        if differs_in_start_alone(self.manifest, existing):
            return another_start(path)
        said = f"{path} holds another job: they differ in {', '.join(self.manifest.differences(existing))}"
        if changed := changed_data(self.manifest, existing):
            said += f". Other data: {', '.join(changed)} (seed what is drawn at random)"
        longer = existing.steps + existing.steps_before < self.job.steps
        if longer and existing.slot(LOSS_SLOT) is not None and self.folder.receipt.exists():
            said += (
                f". To train a finished run on, give it to a run in another folder: continue_from={str(path)!r} "
                f"(tally run --continue-from {path} --out ANOTHER)"
            )
        return said

    def existing_manifest(self) -> Any:
        try:
            return self.folder.read_manifest()
        except ProtocolError as error:
            raise JobError(f"{error}. {INSTEAD}") from error

    def require_space(self) -> None:
        """Ask for the disk space of the whole run before it begins."""
        constants = sum(type.nbytes for type in self.job.captured.program.constants)
        states = self.files.nbytes * self.retention.peak
        model = sum(array.nbytes for array in self.job.captured.state)
        require_space(self.folder.path, constants + states + model + self.manifest.program.bytes, "this job")

    def find_start(self) -> None:
        """Take up the newest stored state that is intact; what the journal says after it is forgotten."""
        self.reporter.tell("check")
        entries = self.folder.journal.read()[: self.manifest.segments]
        start = self.state_hasher.digests(self.state)
        if not self.folder.states.has(bytes.fromhex(self.manifest.start_root), self.files.nbytes):
            self.files.put(self.state, start)
        while entries:
            found = self.files.examine(entries[-1].root)
            if found.state is not None and found.damage is None:
                self.state = aligned(found.state)
                break
            entries.pop()
        self.entries = entries
        self.folder.journal.restart(entries)

    def finished(self) -> bool:
        """Whether nothing is left to do: all segments, the model and a sound receipt of exactly this run are there."""
        from tallystick.job.finishing import is_finished

        return len(self.entries) == self.manifest.segments and is_finished(self.job, self.folder, self.entries)

    # THE LOOP

    def run(self, first: int, threads: int | None) -> Sequence[np.ndarray]:
        """Segments ``first`` to the end; returns the final state."""
        from tallystick.engine.backends import make_engine

        done = self.manifest.boundary_step(first)
        self.reporter.tell("compile", done, first)
        engine = make_engine(self.job.captured.program, threads)
        self.facts["machine"] = engine.describe()
        self.facts["peak_memory_bytes"] = int(engine.peak_memory)
        if first < self.manifest.segments:
            self.run_segments(engine, first)
        self.facts["finished"] = now()
        return self.state

    def run_segments(self, engine: AnyEngine, first: int) -> None:
        start = self.manifest.boundary_step(first)
        self.reporter.tell("run", start, first)
        with engine.start(self.state, self.job.captured.constants, step=start) as session:
            for segment in range(first, self.manifest.segments):
                began = time.monotonic()
                self.advance(session, segment)
                self.commit(session, segment, began)

    def advance(self, session: Any, segment: int) -> None:
        """Run one segment, reporting a few times a second."""
        for steps in advance_in_slices(session, self.manifest.boundary_step(segment + 1)):
            self.reporter.tell("run", session.step, segment, self.newest_loss(session, steps))
            refuse_failed_checks(self.checks, session, self.folder.path)

    def newest_loss(self, session: Any, steps: int) -> float | None:
        """The loss of the last step done.

        Raises: JobError if it, or one of the ``steps`` before it, is NaN, unless that is to be recorded.
        """
        if self.loss_slot is None:
            return None
        done = self.manifest.steps_before + session.step
        newest = session.slot(self.loss_slot)[done - steps : done]
        if self.on_nan == "stop" and np.isnan(newest).any():
            bad = done - steps + int(np.isnan(newest).argmax())
            raise JobError(
                f"{nan_loss(self.job.captured, session.state(), bad, done)}. The states before this segment are kept "
                f"in {self.folder.path}; a changed job needs another folder."
            )
        return float(newest[-1])

    def commit(self, session: Any, segment: int, began: float) -> None:
        """Hash and store the state after a segment; only then is the segment noted as done."""
        ran = time.monotonic()
        self.state = ()  # let go of one copy before the next is made
        self.state = session.state()
        digests = self.state_hasher.digests(self.state)
        hashed = time.monotonic()
        root = self.files.put(self.state, digests)
        assert root == state_root(digests)
        written = time.monotonic()
        entry = Entry(root, milliseconds(ran - began), milliseconds(hashed - ran), milliseconds(written - hashed))
        self.folder.journal.append(segment, entry)
        self.entries.append(entry)
        self.drop_state(segment, root)

    def drop_state(self, boundary: int, newest: bytes) -> None:
        """Remove the state at a boundary that is no longer the newest, unless it is to be kept."""
        root = self.root_at(boundary)
        if self.retention.keeps(boundary):
            self.kept.add(root)
        elif root not in self.kept and root != newest:
            self.folder.states.remove(root)

    def drop_unwanted_states(self) -> None:
        """Remove everything from the states folder that retention does not keep."""
        newest = len(self.entries)
        self.kept = {self.root_at(boundary) for boundary in range(newest) if self.retention.keeps(boundary)}
        for root in self.folder.states.digests() - self.kept - {self.root_at(newest)}:
            self.folder.states.remove(root)

    def root_at(self, boundary: int) -> bytes:
        """The state root at a boundary that was reached."""
        return self.entries[boundary - 1].root if boundary else bytes.fromhex(self.manifest.start_root)


def loss_slot(job: Job) -> int | None:
    """The slot in which the element ``steps_before + s`` is the loss of step s, if the program has one."""
    slot = job.manifest.slot(LOSS_SLOT)
    if slot is None:
        return None
    type = job.captured.program.states[slot]
    return slot if type.dtype is DType.F32 and type.shape == (job.manifest.steps_before + job.steps,) else None


def changed_data(mine: Manifest, theirs: Manifest) -> list[str]:
    """The names of the data in which two jobs differ."""
    known = {fact.name: fact for fact in theirs.constants}
    return [fact.name for fact in mine.constants if fact.name.startswith(DATA) and known.get(fact.name) != fact]


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def now() -> str:
    """The time, to the second, for people."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
