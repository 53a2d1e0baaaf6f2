"""A program being run: where it stands and what its state is."""

from __future__ import annotations

import weakref
from types import TracebackType

import numpy as np

from tallystick.engine.machine import Machine
from tallystick.errors import UsageError
from tallystick.spec.limits import STEPS
from tallystick.spec.programs import Program


class Session:
    """State that advances step by step. Made by `Engine.start`; a context manager that ends its threads."""

    def __init__(self, program: Program, machine: Machine) -> None:
        self._program = program
        self._machine: Machine | None = machine
        self._end_threads = weakref.finalize(self, machine.crew.close)  # also for one that nobody closes

    @property
    def step(self) -> int:
        """The number of the next step."""
        return self._open.crew.settle()[0]

    def advance(self, steps: int) -> None:
        """Run so many steps.

        Ctrl-C takes effect between two steps: the session then stands after the last whole step, ``step`` says which,
        and KeyboardInterrupt is raised.
        """
        if steps < 0 or self.step + steps > STEPS:
            raise UsageError(f"cannot run {steps} steps from step {self.step}: step numbers go from 0 to {STEPS - 1}")
        self._open.crew.advance(steps)

    def state(self) -> list[np.ndarray]:
        """Fresh copies of the state slots."""
        return [self.slot(number) for number in range(len(self._program.states))]

    def slot(self, number: int) -> np.ndarray:
        """A fresh copy of one state slot."""
        machine = self._open
        _, done = machine.crew.settle()
        return machine.view(machine.plan.slots[number][done % 2], self._program.states[number]).copy()

    @property
    def _open(self) -> Machine:
        if self._machine is None:
            raise UsageError("this session is closed; start another with Engine.start")
        return self._machine

    def close(self) -> None:
        """End the session's threads and give its memory back."""
        self._end_threads()
        self._machine = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
