"""Where a fault happens, and the list of all faults."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tallystick.dispute.lies import FaultyTrace
from tallystick.dispute.replay import Replay
from tallystick.dispute.step_trace import StepTrace
from tallystick.errors import UsageError
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType


@dataclass(frozen=True)
class Scene:
    """Where a fault happens. Names are those of the state slots and of the constants; ``seed`` picks slot and element.

    ``steps`` is how many the claim has.
    """

    replay: Replay
    at: int
    steps: int
    state_names: Sequence[str]
    constant_names: Sequence[str]
    seed: int = 0

    @cached_property
    def rng(self) -> random.Random:
        """Draws slot and element."""
        return random.Random(self.seed)  # noqa: S311 - picks a place, not a secret

    @property
    def program(self) -> Program:
        return self.replay.computation.program

    @property
    def inputs(self) -> int:
        """How many values are no kernel's."""
        return len(self.program.states) + len(self.program.constants)

    def honest(self, at: int | None = None) -> StepTrace:
        """The true trace of the step."""
        return self.replay.step_trace(self.at if at is None else at)

    def written_slots(self, *prefixes: str) -> list[int]:
        """Slots that a kernel writes, in random order, those with one of these prefixes first."""
        slots = [slot for slot, value in enumerate(self.program.next_state) if value >= self.inputs]
        self.rng.shuffle(slots)
        preferred = [slot for slot in slots if self.state_names[slot].startswith(prefixes)]
        return preferred or slots

    def floats(self, slots: Sequence[int]) -> list[int]:
        """Those of them that hold binary32."""
        return [slot for slot in slots if self.program.states[slot].dtype is DType.F32]

    def constant(self, prefix: str) -> int:
        """The number among the constants of one whose name begins so. Raises: UsageError."""
        found = next((n for n, name in enumerate(self.constant_names) if name.startswith(prefix)), None)
        if found is None:
            raise UsageError(f"this program has no constant named {prefix}..., so this fault cannot happen in it")
        return found

    def one(self, slots: Sequence[int], what: str) -> int:
        """The first of them. Raises: UsageError."""
        if not slots:
            raise UsageError(f"this program has no {what}, so this fault cannot happen in it")
        return slots[0]


Fault = Callable[[Scene], list[FaultyTrace]]
FAULTS: dict[str, Fault] = {}


def fault(name: str) -> Callable[[Fault], Fault]:
    """Register a fault under the name that commands know it by."""

    def register(function: Fault) -> Fault:
        FAULTS[name] = function
        return function

    return register
