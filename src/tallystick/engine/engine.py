"""Programs as machine code."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import llvmlite.binding as llvm
import numpy as np

from tallystick.engine.arrays import check_arrays, require_memory
from tallystick.engine.cache import CodeCache, cache_key
from tallystick.engine.dataflow import Dataflow
from tallystick.engine.generate import KernelCode, generate
from tallystick.engine.groups import find_groups
from tallystick.engine.machine import Machine
from tallystick.engine.machine_code import LoadedCode, compile_object
from tallystick.engine.memory_plan import MemoryPlan, make_plan
from tallystick.engine.schedule import Schedule, make_schedule
from tallystick.engine.session import Session
from tallystick.engine.target import Target, host_cpu, runnable
from tallystick.errors import UsageError
from tallystick.ir.verifier import verify
from tallystick.spec.limits import STEPS
from tallystick.spec.programs import Program

if TYPE_CHECKING:
    from tallystick.engine.profile import Profile


class Engine:
    """A program compiled for this machine.

        with Engine(program).start(state, constants) as session:
            session.advance(100)
            state = session.state()

    ``threads``  how many threads share the work (None: one per core this process may use)
    ``target``   instruction set and optimisation level (None: the best of this machine)
    ``cache``    folder of compiled programs (None: the user's cache folder)

    None of them changes a bit of any result. Raises ProgramError for a program that breaks a rule, UsageError for a
    target this machine cannot run, ResourceError for a program whose memory plan does not fit.
    """

    def __init__(
        self,
        program: Program,
        threads: int | None = None,
        target: Target | None = None,
        cache: Path | None = None,
    ) -> None:
        verify(program)
        if threads is not None and threads < 1:
            raise UsageError(f"an engine needs at least one thread, not {threads}")
        self.program = program
        self.threads = threads or usable_cores()
        self.target = target or Target.host()
        if self.target.isa not in runnable():
            raise UsageError(f"this machine runs {', '.join(runnable())}, but not {self.target.isa}")
        self._cache = CodeCache(cache)
        self._flow = Dataflow(program, find_groups(program, self.threads))
        self._loaded, self.code = _compiled(self._flow, self.target, self._cache)
        self._schedule = make_schedule(self._flow, self.code, self.threads)
        self._plan = make_plan(self._flow, self.code, self._schedule, self.threads)
        require_memory(self._plan.size, "this job")

    @property
    def peak_memory(self) -> int:
        """Bytes a session allocates: state, intermediate values and working memory. Constants are the caller's."""
        return self._plan.size

    @property
    def flow(self) -> Dataflow:
        """Who makes and reads what, and which kernels run together."""
        return self._flow

    @property
    def plan(self) -> MemoryPlan:
        """Where everything lies."""
        return self._plan

    def describe(self) -> dict[str, str | int]:
        """What the program runs on. Informative: no result depends on any of it."""
        return {
            "cpu": host_cpu()[0],
            "machine": platform.machine(),
            "isa": self.target.isa,
            "opt_level": self.target.opt_level,
            "llvm": ".".join(str(number) for number in llvm.llvm_version_info),
            "threads": self.threads,
        }

    def start(self, state: Sequence[np.ndarray], constants: Sequence[np.ndarray], step: int = 0) -> Session:
        """A session that stands before a step.

        Arrays are copied (state) or used where they are (constants, which may be memory-mapped and must not change).
        Raises UsageError if they are not what the program's slots hold, IntegrityError for a NaN that is not the
        canonical one, ResourceError if the plan does not fit the memory that is available.
        """
        return Session(self.program, self.machine(state, constants, step))

    def machine(self, state: Sequence[np.ndarray], constants: Sequence[np.ndarray], step: int) -> Machine:
        """What a session runs. Raises as `start` does."""
        self._check(state, constants, step)
        require_memory(self._plan.size, "this job")
        plan = self._plan
        return Machine(self._flow, self.code, self._loaded, self._schedule, plan, state, constants, step)

    def profile(
        self, state: Sequence[np.ndarray], constants: Sequence[np.ndarray], step: int = 0, steps: int | None = None
    ) -> Profile:
        """Where the time of steps goes (``steps`` None: of two seconds of them). Raises as `start` does."""
        from tallystick.engine.profile import measure

        return measure(self, state, constants, step, steps)

    def trace(self, state: Sequence[np.ndarray], constants: Sequence[np.ndarray], step: int) -> list[np.ndarray]:
        """Every value of one step, by value number. Raises as `start` does."""
        self._check(state, constants, step)
        flow, loaded, code, schedule = self._ungrouped
        plan = make_plan(flow, code, schedule, self.threads, keep_all=True)
        require_memory(plan.size, "a trace of one step, which keeps every intermediate value,")
        machine = Machine(flow, code, loaded, schedule, plan, state, constants, step, copies=False)
        machine.crew.advance(1)
        machine.crew.close()
        made = range(flow.given, len(flow.types))
        values = [machine.view(plan.even[value], flow.types[value]) for value in made]
        return [*(array.copy() for array in state), *constants, *values]

    @cached_property
    def _ungrouped(self) -> tuple[Dataflow, LoadedCode, KernelCode, Schedule]:
        """The program with every value in memory as a whole."""
        if not self._flow.groups:
            return self._flow, self._loaded, self.code, self._schedule
        flow = Dataflow(self.program)
        loaded, code = _compiled(flow, self.target, self._cache)
        return flow, loaded, code, make_schedule(flow, code, self.threads)

    def _check(self, state: Sequence[np.ndarray], constants: Sequence[np.ndarray], step: int) -> None:
        if not 0 <= step < STEPS:
            raise UsageError(f"step numbers go from 0 to {STEPS - 1}, not {step}")
        check_arrays("state", state, self.program.states)
        check_arrays("constant", constants, self.program.constants)


def _compiled(flow: Dataflow, target: Target, cache: CodeCache) -> tuple[LoadedCode, KernelCode]:
    """Machine code of a program, from the cache if it is there."""
    key = cache_key(flow.program, target, flow.groups)
    known = cache.load(key)
    if known is None:
        text, code = generate(flow.program, target, flow.groups)
        known = compile_object(text, target), code
        cache.store(key, *known)
    object_bytes, code = known
    return LoadedCode(object_bytes, target), code


def usable_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
