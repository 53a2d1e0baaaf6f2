"""Jobs: a program, where it starts, and for how long it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tallystick.commitment import array_digest, check_array
from tallystick.errors import JobError
from tallystick.ir.accounting import program_work
from tallystick.ir.captured import Captured
from tallystick.ir.verifier import verify
from tallystick.job.diagnosis import OnNan, check_on_nan
from tallystick.job.documents import MAX_SEGMENTS, MAX_SLOTS, MAX_STEPS
from tallystick.job.hashing import JobHasher
from tallystick.job.manifest import ConstantFact, Manifest, ProgramFact, SlotFact
from tallystick.job.progress import Listener
from tallystick.job.retention import KeepStates
from tallystick.job.starts import Resume, check_resume
from tallystick.spec.digests import constants_root, program_root, state_root
from tallystick.spec.encoding import encode_program

if TYPE_CHECKING:
    from tallystick.job.run import Run

DEFAULT_SEGMENT_STEPS = 100


@dataclass(frozen=True, eq=False)
class Job:
    """Any program as a job. Training is one kind: see ``TrainingJob``.

    ``steps`` in all, cut into segments of ``segment_steps`` (the last may be short): the state is hashed and stored
    after every segment. ``after`` is the id of the job whose end state this one starts from, if it goes on from one:
    whoever verifies a run of it wants to see a run of that job, too, in the folder ``before`` of its own.
    """

    captured: Captured = field(repr=False)
    steps: int
    segment_steps: int = DEFAULT_SEGMENT_STEPS
    name: str = "program"
    after: str | None = None

    def __post_init__(self) -> None:
        check_steps(self.steps, self.segment_steps)
        check_name(self.name)
        captured = self.captured
        verify(captured.program)
        check_slots(captured)

    @cached_property
    def manifest(self) -> Manifest:
        """What the job is. Hashes constants and start state when it is first asked for."""
        captured, hasher = self.captured, JobHasher()
        program = captured.program
        slots = zip(program.states, captured.state, strict=True)
        start = [array_digest(type, array, hasher) for type, array in slots]
        constants = zip(captured.constant_names, program.constants, captured.constants, strict=True)
        facts = tuple(
            ConstantFact(name=name, dtype=fact.dtype, shape=fact.shape, digest=array_digest(type, array, hasher).hex())
            for name, type, array in constants
            for fact in (SlotFact.of(name, type),)
        )
        return Manifest(
            name=self.name,
            steps=self.steps,
            segment_steps=self.segment_steps,
            program=ProgramFact(
                root=program_root(program).hex(),
                bytes=len(encode_program(program)),
                kernels=len(program.kernels),
                work_per_step=program_work(program),
            ),
            constants_root=constants_root([bytes.fromhex(fact.digest) for fact in facts]).hex(),
            start_root=state_root(start).hex(),
            constants=facts,
            state=tuple(map(SlotFact.of, captured.state_names, program.states)),
            after=self.after,
        )

    def run(
        self,
        folder: str | Path,
        *,
        threads: int | None = None,
        resume: Resume = True,
        keep_states: KeepStates = None,
        progress: Listener | None = None,
        module: Any = None,
        on_nan: OnNan = "stop",
    ) -> Run:
        """Run to the end and write a receipt; a run that was interrupted goes on after its last whole segment.

        ``folder``       where everything is written; it must be new, empty, or hold the same job
        ``threads``      never changes a bit; None for all cores
        ``resume``       False forgets what the folder holds and starts anew; "stored" goes on with it also if this job
                         has other weights at its start: those in the folder are taken
        ``keep_states``  states to keep: "all", or a number >= 2 (first, last, evenly spaced); None: 2 GiB of them
        ``progress``     called a few times a second with a ``Progress``
        ``module``       the torch module that ``Run.model`` puts the trained weights into
        ``on_nan``       "stop" ends the run at a loss that is NaN; "record" writes it down and goes on, as PyTorch does

        Raises: JobError if the folder holds another job, is in use or cannot be written, or if the loss becomes NaN;
        ResourceError if memory or disk do not suffice. Whatever happens, finished segments stay.
        """
        from tallystick.job.runner import run_job

        return run_job(self, folder, threads, check_resume(resume), keep_states, progress, module, check_on_nan(on_nan))

    @staticmethod
    def open(folder: str | Path) -> Job:
        """The job a run folder holds, from its files alone: program, constants and start state, all checked.

        Raises: ProtocolError if a file is missing or damaged, JobError if it is no run folder.
        """
        from tallystick.job.opening import open_job

        return open_job(folder)


def check_steps(steps: Any, segment_steps: Any) -> None:
    """Raises: JobError unless both are positive whole numbers and the segments not too many."""
    for name, value in (("steps", steps), ("segment_steps", segment_steps)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise JobError(f"{name}={value!r}: give a whole number")
        if not 1 <= value <= MAX_STEPS:
            raise JobError(f"{name}={value}: give a number from 1 to {MAX_STEPS}")
    if -(-steps // segment_steps) > MAX_SEGMENTS:
        raise JobError(
            f"{steps} steps in segments of {segment_steps} are more than {MAX_SEGMENTS} segments. "
            f"Use segment_steps={-(-steps // MAX_SEGMENTS)} or more."
        )


def check_name(name: Any) -> None:
    """Raises: JobError unless it is a short text without control characters."""
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable():
        raise JobError(f"name={name!r}: give a text of 1 to 200 printable characters")


def check_slots(captured: Captured) -> None:
    """Raises: JobError or UsageError unless names and arrays fit the program."""
    program = captured.program
    check_group("state", program.states, captured.state, captured.state_names)
    check_group("constants", program.constants, captured.constants, captured.constant_names)
    if len(captured.sources) != len(program.kernels):
        raise JobError(f"there are {len(captured.sources)} sources for {len(program.kernels)} kernels")


def check_group(what: str, types: Sequence, arrays: Sequence, names: Sequence[str]) -> None:
    """The same for the state or the constants."""
    if not len(types) == len(arrays) == len(names) <= MAX_SLOTS:
        raise JobError(
            f"the program has {len(types)} slots of {what}, but {len(arrays)} arrays and {len(names)} names are given "
            f"(at most {MAX_SLOTS})"
        )
    if len(set(names)) != len(names):
        raise JobError(f"two slots of {what} have the same name")
    for type, array, name in zip(types, arrays, names, strict=True):
        check_name(name)
        check_array(type, array, name)
