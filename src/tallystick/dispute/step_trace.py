"""Everything about one step of a program: what a player reveals of it, or compares with what is revealed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tallystick.commitment import Hasher, MerkleTree
from tallystick.dispute.computation import Computation
from tallystick.dispute.elements import Accumulators, ElementTrace
from tallystick.dispute.scatter_hits import scatter_hits
from tallystick.dispute.tensors import ArrayWords, CommittedTensor
from tallystick.spec.digests import ProgramHeader, program_header
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.scalar_steps import Place
from tallystick.spec.tensors import TensorType


@dataclass(frozen=True, slots=True)
class MadeBy:
    """Which kernel makes a value, as which of its outputs. ``first_value`` is the number of its first output."""

    number: int
    kernel: Kernel
    first_value: int
    output: int


def maker_of(program: Program, value: int) -> MadeBy:
    """The kernel that makes a value, which must not be an input."""
    first = len(program.states) + len(program.constants)
    assert value >= first, "inputs are made by no kernel"
    for number, kernel in enumerate(program.kernels):
        if value < first + len(kernel.outputs):
            return MadeBy(number, kernel, first, value - first)
        first += len(kernel.outputs)
    raise AssertionError("there is no such value")


class StepTrace:
    """The values of one step with all their commitments.

    ``values`` by number, inputs first; ``new_state`` are the slots after the step; ``step`` is the program's number.
    ``known`` are digests of values that need not be hashed again.
    """

    def __init__(
        self,
        computation: Computation,
        step: int,
        values: Sequence[np.ndarray],
        new_state: Sequence[np.ndarray],
        hasher: Hasher,
        known: dict[int, bytes] | None = None,
    ) -> None:
        self.computation = computation
        self.program = computation.program
        self.step = step
        self.values = list(values)
        self.new_state = list(new_state)
        self.types: list[TensorType] = list(self.program.value_types)
        self.hasher = hasher
        self._known = known or {}
        self._tensors: dict[int, CommittedTensor] = {}
        self._elements: dict[tuple[int, int], Accumulators] = {}

    @cached_property
    def header(self) -> ProgramHeader:
        """Of the program; its root takes a look at every kernel."""
        return program_header(self.program)

    @property
    def state(self) -> list[np.ndarray]:
        """The state before the step."""
        return self.values[: len(self.program.states)]

    def tensor(self, value: int) -> CommittedTensor:
        """A value with its tree."""
        if value not in self._tensors:
            self._tensors[value] = CommittedTensor.of(self.types[value], self.values[value], self.hasher)
        return self._tensors[value]

    def digest(self, value: int) -> bytes:
        """The digest of a value. Its tree is not kept: a step may have more values than memory has room for trees."""
        if value not in self._known:
            kept = self._tensors.get(value)
            tensor = kept or CommittedTensor.of(self.types[value], self.values[value], self.hasher)
            self._known[value] = tensor.digest
        return self._known[value]

    @cached_property
    def digests(self) -> list[bytes]:
        """Of all values, by number."""
        return [self.digest(value) for value in range(len(self.types))]

    @cached_property
    def trace(self) -> MerkleTree:
        """The tree over all values."""
        return MerkleTree(self.digests, self.hasher)

    @cached_property
    def start(self) -> MerkleTree:
        """The tree over the state before the step."""
        return MerkleTree(self.digests[: len(self.program.states)], self.hasher)

    @cached_property
    def constants(self) -> MerkleTree:
        """The tree over the constants."""
        states = len(self.program.states)
        return MerkleTree(self.digests[states : states + len(self.program.constants)], self.hasher)

    @cached_property
    def end_digests(self) -> list[bytes]:
        """Of the slots after the step."""
        digests: list[bytes] = []
        for slot, value in enumerate(self.program.next_state):
            same = self.new_state[slot] is self.values[value]
            tensor = CommittedTensor.of(self.program.states[slot], self.new_state[slot], self.hasher)
            digests.append(self.digest(value) if same else tensor.digest)
        return digests

    @cached_property
    def end(self) -> MerkleTree:
        """The tree over the state after the step."""
        return MerkleTree(self.end_digests, self.hasher)

    def accumulators(self, value: int, element: int) -> Accumulators:
        """What stands between the scalar steps of an element."""
        key = (value, element)
        if key not in self._elements:
            self._elements[key] = self.element_trace(value, element)
        return self._elements[key]

    def element_trace(self, value: int, element: int) -> ElementTrace:
        """The true accumulators, given the values before the kernel's."""
        made = maker_of(self.program, value)
        place = Place(made.output, element, self.step)
        words = ArrayWords(made.kernel, self.types, self.values)
        return ElementTrace(
            made.kernel,
            place,
            words,
            lambda: scatter_hits(made.kernel, place, self.types, self.values, self.computation),
        )
