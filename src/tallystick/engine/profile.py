"""Where the time of a program's steps goes, kernel by kernel, and how far that is from what the machine can do."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from tallystick.engine.clock import clocked_driver_text
from tallystick.engine.driver import Command
from tallystick.engine.machine_code import LoadedCode, compile_object
from tallystick.engine.roofs import Roofs, measure_roofs
from tallystick.engine.workload import Workload, kind_of, workload
from tallystick.errors import UsageError

if TYPE_CHECKING:
    from tallystick.engine.engine import Engine
    from tallystick.engine.machine import Machine

WARM_UP = 2  # steps before the clock counts: caches fill, pages are touched for the first time
TIMED_S = 2.0  # how long to run, unless told how many steps
MOST_STEPS = 1000
RUNNING = (Command.CALL, Command.TOGETHER)


@dataclass(frozen=True, slots=True)
class KernelTime:
    """One kernel in a step: seconds of its threads divided by their number, so that kernels and waiting add up.

    ``function``  number of the code that runs it: kernels of one structure share it
    ``phases``    seconds by phase, of a kernel that has several
    """

    number: int
    kind: str
    function: int
    shape: tuple[int, ...]
    reduce_shape: tuple[int, ...]
    seconds: float
    phases: dict[str, float]
    work: Workload


@dataclass(frozen=True, slots=True)
class Group:
    """Kernels of one structure that come from the same lines."""

    source: str
    kernels: tuple[KernelTime, ...]

    @property
    def kind(self) -> str:
        return self.kernels[0].kind

    @property
    def seconds(self) -> float:
        return sum(kernel.seconds for kernel in self.kernels)

    @property
    def work(self) -> Workload:
        return sum((kernel.work for kernel in self.kernels), Workload())


@dataclass(frozen=True, slots=True)
class Profile:
    """The mean step of a run.

    ``step_seconds``  from start to end
    ``waiting``       for other threads' work, ``sharing`` for claiming work and counting it done, ``copying`` of values
                      into state slots: seconds of all threads divided by their number
    """

    threads: int
    steps: int
    step_seconds: float
    waiting: float
    sharing: float
    copying: float
    kernels: tuple[KernelTime, ...]
    roofs: Roofs
    state_bytes: int
    arena_bytes: int
    plan_bytes: int

    @property
    def accounted(self) -> float:
        """Seconds of a step that are somebody's."""
        return sum(kernel.seconds for kernel in self.kernels) + self.waiting + self.sharing + self.copying

    def attained(self, work: Workload, seconds: float) -> float:
        """Which part of the time a machine at its roofs would take. Above 1: the data came from caches."""
        return self.roofs.least_seconds(work.operations, work.read, work.written) / max(seconds, 1e-12)

    def groups(self, sources: Sequence[str]) -> list[Group]:
        """Kernels by structure and source, those that take longest first. ``sources``: a text for every kernel."""

        def key(kernel: KernelTime) -> tuple[int, str]:
            return kernel.function, sources[kernel.number]

        grouped = groupby(sorted(self.kernels, key=key), key)
        return sorted((Group(k[1], tuple(kernels)) for k, kernels in grouped), key=lambda group: -group.seconds)

    def by_kind(self) -> dict[str, float]:
        """Seconds in a step by kind of kernel."""
        seconds: dict[str, float] = {}
        for kernel in self.kernels:
            seconds[kernel.kind] = seconds.get(kernel.kind, 0.0) + kernel.seconds
        return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def measure(
    engine: Engine,
    state: Sequence[np.ndarray],
    constants: Sequence[np.ndarray],
    step: int = 0,
    steps: int | None = None,
) -> Profile:
    """Run steps with a clock in the driver; ``steps`` None: for two seconds. The state given is not changed.

    Raises as `Engine.start` does, UsageError for no steps.
    """
    if steps is not None and steps < 1:
        raise UsageError(f"a profile needs at least one step, not {steps}")
    clocked = LoadedCode(compile_object(clocked_driver_text(engine.target), engine.target), engine.target)
    roofs = measure_roofs(engine.target, engine.threads)
    machine = engine.machine(state, constants, step)
    ticks = machine.keep_time(clocked)
    try:
        machine.crew.advance(WARM_UP)
        if steps is None:
            began = time.perf_counter()
            machine.crew.advance(WARM_UP)
            spent = (time.perf_counter() - began) / WARM_UP
            steps = min(max(round(TIMED_S / spent), 1), MOST_STEPS)
        ticks[:] = 0
        began = time.perf_counter()
        machine.crew.advance(steps)
        seconds = time.perf_counter() - began
    finally:
        machine.crew.close()
    return _profile(engine, machine, ticks, steps, seconds, roofs)


def _profile(engine: Engine, machine: Machine, ticks: np.ndarray, steps: int, seconds: float, roofs: Roofs) -> Profile:
    commands = machine.commands
    sums = ticks[:, : len(commands)].astype(np.float64)
    # The thread with most ticks was there from start to end.
    scale = seconds / max(float(sums.sum(axis=1).max()), 1.0) / steps / engine.threads
    by_command = sums.sum(axis=0) * scale
    kinds, functions, owners = commands[:, 0], commands[:, 1], commands[:, 9].astype(np.int64) - 1
    running = np.isin(kinds, RUNNING)
    return Profile(
        threads=engine.threads,
        steps=steps,
        step_seconds=seconds / steps,
        waiting=float(by_command[kinds == Command.EPOCH].sum()),
        sharing=float(by_command[~running & (kinds != Command.EPOCH)].sum()),
        copying=float(by_command[running & (owners < 0)].sum()),
        kernels=tuple(_kernel_times(engine, by_command[running], functions[running], owners[running])),
        roofs=roofs,
        state_bytes=machine.plan.state_bytes,
        arena_bytes=machine.plan.arena_bytes,
        plan_bytes=machine.plan.size,
    )


def _kernel_times(
    engine: Engine, seconds: np.ndarray, functions: np.ndarray, owners: np.ndarray
) -> Iterable[KernelTime]:
    """Of every kernel, from the commands that run it; kernels that run together count as the first of them."""
    types = engine.program.value_types
    spent: list[dict[int, float]] = [{} for _ in engine.program.kernels]
    for time_, function, owner in zip(seconds.tolist(), functions.tolist(), owners.tolist(), strict=True):
        if owner >= 0:
            spent[owner][function] = spent[owner].get(function, 0.0) + time_
    for number in sorted(engine.flow.order):
        kernel, code, group = engine.program.kernels[number], engine.code.of(number), engine.flow.group_of.get(number)
        members = [number] if group is None else group.kernels
        names = [re.split("[._]", phase.function, maxsplit=1)[-1] for phase in code.phases]
        phases = dict(zip(names, spent[number].values(), strict=False)) if len(names) > 1 else {}
        yield KernelTime(
            number,
            kind_of(kernel, types) if group is None else "group",
            engine.code.function_of[number],
            kernel.out_shape,
            kernel.reduce_shape,
            sum(spent[number].values()),
            phases,
            sum((workload(engine.program.kernels[member], types) for member in members), Workload()),
        )
