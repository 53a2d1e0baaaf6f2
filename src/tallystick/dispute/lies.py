"""What a liar claims of one step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick.dispute.elements import Accumulators
from tallystick.dispute.replay import Replay
from tallystick.dispute.step_trace import StepTrace
from tallystick.dispute.tensors import CommittedTensor


class FaultyTrace(StepTrace):
    """A step with some values replaced.

    ``committed`` are values whose commitment is not that of any array of their type. ``lie_at`` is the share of an
    element's scalar steps after which its accumulators are false (1: only what is stored is); ``wrong_step``, where it
    is given, is the number of the first scalar step that goes wrong.
    """

    def __init__(self, honest: StepTrace) -> None:
        super().__init__(honest.computation, honest.step, honest.values, honest.new_state, honest.hasher)
        self._known = dict(honest._known)
        self.committed: dict[int, CommittedTensor] = {}
        self.lie_at = 1.0
        self.wrong_step: int | None = None

    def replace_value(self, value: int, array: np.ndarray) -> None:
        """Claim another array for a value, and for the slots that it goes into."""
        array = np.asarray(array, self.values[value].dtype, order="C")
        self.values[value] = array
        self._known.pop(value, None)
        for slot, source in enumerate(self.program.next_state):
            if source == value:
                self.new_state[slot] = array

    def commit(self, value: int, tensor: CommittedTensor) -> None:
        """Claim a commitment that no array of the value's type has."""
        self.committed[value] = tensor
        self._known[value] = tensor.digest

    def tensor(self, value: int) -> CommittedTensor:
        return self.committed.get(value) or super().tensor(value)

    def accumulators(self, value: int, element: int) -> Accumulators:
        """The true ones, given what is claimed of earlier values, up to where the lie begins."""
        true = super().accumulators(value, element)
        begins = int(self.lie_at * true.steps) if self.wrong_step is None else self.wrong_step
        return FalseAccumulators(true, min(begins, true.steps - 1), self.tensor(value).bits(element))


class FalseAccumulators:
    """True up to a position, then off by one bit in every word, and in the end the bits that are claimed."""

    def __init__(self, true: Accumulators, begins: int, bits: int) -> None:
        self.steps = true.steps
        self._true = true
        self._begins = begins
        self._bits = bits

    def at(self, position: int) -> list[int]:
        if position == self.steps:
            return [self._bits]
        true = self._true.at(position)
        return [word ^ 1 for word in true] if position > self._begins else true


class FaultyReplay:
    """A computation that is right up to a step, false in it, and goes on from there as if nothing had happened."""

    def __init__(self, honest: Replay, at: int, false: Sequence[FaultyTrace]) -> None:
        self._honest = honest
        self._at = at
        self._false = list(false)
        self._resumes = at + len(false)
        first_step = honest.first_step + self._resumes
        start = [canonical(array) for array in false[-1].new_state]
        self._after = Replay(honest.computation, start, first_step, honest.hasher, None, honest.listener)

    def state_roots(self, numbers: Sequence[int]) -> list[bytes]:
        return [self._root(number) for number in numbers]

    def _root(self, number: int) -> bytes:
        if number <= self._at:
            return self._honest.state_roots([number])[0]
        if number < self._resumes:
            return self._false[number - self._at - 1].end.root
        if number == self._resumes:
            return self._false[-1].end.root
        return self._after.state_roots([number - self._resumes])[0]

    def step_trace(self, number: int) -> StepTrace:
        if number < self._at:
            return self._honest.step_trace(number)
        if number < self._resumes:
            return self._false[number - self._at]
        return self._after.step_trace(number - self._resumes)

    def close(self) -> None:
        """Forget all states, those before the fault too."""
        self._honest.close()
        self._after.close()


def canonical(array: np.ndarray) -> np.ndarray:
    """The array with the one NaN that engines accept, so that a liar can go on from any state."""
    if array.dtype != np.float32 or not np.isnan(array).any():
        return array
    return np.where(np.isnan(array), np.float32(np.nan), array)
