"""Re-execution: state roots and step traces of a computation, from the nearest state that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tallystick.commitment import Hasher, StateHasher
from tallystick.dispute.computation import Computation, Listener
from tallystick.dispute.snapshots import Snapshots
from tallystick.dispute.step_trace import StepTrace


class TraceProvider(Protocol):
    """What a player knows of a computation. Numbers count the steps of the claim, from 0."""

    def state_roots(self, numbers: Sequence[int]) -> list[bytes]:
        """The roots after so many steps; ascending numbers are cheapest."""
        ...

    def step_trace(self, number: int) -> StepTrace:
        """All values of one step."""
        ...


class Replay:
    """A computation run again: only what is asked for, never twice what is still kept.

    ``start`` is the state before step number ``first_step`` of the program. States along the way that are already known
    are put into ``snapshots`` by the number of steps that lead to them.
    """

    def __init__(
        self,
        computation: Computation,
        start: Sequence[np.ndarray],
        first_step: int,
        hasher: Hasher,
        snapshots: Snapshots | None = None,
        listener: Listener = lambda steps: None,
    ) -> None:
        self.computation = computation
        self.first_step = first_step
        self.hasher = hasher
        self.listener = listener
        self._snapshots = snapshots or Snapshots()
        self._snapshots.put(0, start)
        self._states = StateHasher(computation.program, hasher)
        self._roots: dict[int, bytes] = {}
        self._traces: dict[int, StepTrace] = {}
        self._constants: dict[int, bytes] = {}

    def state(self, number: int) -> list[np.ndarray]:
        """The state after so many steps."""
        known, state = self._snapshots.nearest(number)
        if known < number:
            state = self.computation.advance(state, self.first_step + known, number - known, self.listener)
            self._snapshots.put(number, state)
        return state

    def state_roots(self, numbers: Sequence[int]) -> list[bytes]:
        for number in numbers:
            if number not in self._roots:
                self._roots[number] = self._states.root(self.state(number))
        return [self._roots[number] for number in numbers]

    def step_trace(self, number: int) -> StepTrace:
        """All values of one step."""
        if number not in self._traces:
            self._traces.clear()  # a game looks at one step only, and a trace is large
            step = self.first_step + number
            values = self.computation.trace(self.state(number), step)
            self._traces[number] = self.traced(step, values)
        return self._traces[number]

    def traced(self, step: int, values: Sequence[np.ndarray]) -> StepTrace:
        """A step whose values are known, its new state gathered as the program says."""
        program = self.computation.program
        new_state = [values[value] for value in program.next_state]
        trace = StepTrace(self.computation, step, values, new_state, self.hasher, dict(self._constants))
        first = len(program.states)
        for value in range(first, first + len(program.constants)):
            self._constants[value] = trace.digest(value)
        return trace

    def close(self) -> None:
        """Forget all states."""
        self._snapshots.close()
