"""What a side of a toy dispute says happened: every state, value, chunk and accumulator of a run, true or not."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from property.strategies import Case
from tallystick.spec.board import Claim
from tallystick.spec.digests import (
    KernelOpening,
    ProgramHeader,
    chunk_leaves,
    kernel_leaves,
    open_kernel,
    program_header,
    tensor_digest_of_root,
)
from tallystick.spec.kernels import Kernel, TensorWords, run_kernel
from tallystick.spec.merkle import EMPTY, depth, leaf, node
from tallystick.spec.scalar_steps import Place, first_accumulators, run_scalar_step
from tallystick.spec.tensors import Tensor, TensorType


class Tree:
    """A Merkle tree with all its nodes. ``count`` leaves are expected; whoever lies may fill the padding, too."""

    def __init__(self, leaves: list[bytes], count: int | None = None) -> None:
        self.count = len(leaves) if count is None else count
        size = 1 << depth(self.count)
        self.levels = [[*leaves, *[EMPTY] * (size - len(leaves))]]
        while len(self.levels[-1]) > 1:
            level = self.levels[-1]
            self.levels.append([node(level[i], level[i + 1]) for i in range(0, len(level), 2)])

    @property
    def root(self) -> bytes:
        return self.levels[-1][0]

    @property
    def height(self) -> int:
        return len(self.levels) - 1

    def children(self, height: int, index: int, down: int) -> list[bytes]:
        """The digests some levels below a node."""
        return self.levels[height - down][index << down : (index + 1) << down]

    def path(self, index: int, low: int = 0, high: int | None = None) -> list[bytes]:
        """The siblings from a node at height ``low`` up to height ``high``, nearest first."""
        high = self.height if high is None else high
        return [self.levels[level][(index >> (level - low)) ^ 1] for level in range(low, high)]


@dataclass
class Value:
    """A tensor as it is committed to. ``digest`` is that of type and chunks, but for one that nobody can open."""

    tensor: Tensor
    chunks: Tree
    digest: bytes

    @classmethod
    def of(cls, tensor: Tensor) -> Value:
        chunks = Tree(list(chunk_leaves(tensor.data)))
        return cls(tensor, chunks, tensor_digest_of_root(tensor.type, chunks.root))


@dataclass
class Lie:
    """Something wrong at a step of a run. ``number`` is a value's or a slot's.

    kinds: value    an element of a value; what is computed from it follows
           input    an element of a state slot or a constant, inside the step only
           slot     an element of the state after the step, though the step's values are right
           digest   of a value: nobody can open it
           dims     of a value: the right bytes under another type
           tail     of a value: the last chunk goes on after the end
           chunks   of a value: the padding of its chunk tree is not empty
           padding  of the trace tree is not empty, and an element of the state after the step is wrong
           states   the padding of the state tree is not empty
           root     of the state after the step: nobody can open it
           skip     the state after the step is the one before it
    """

    kind: str
    step: int
    number: int
    seed: int


KINDS = ("value", "input", "slot", "digest", "dims", "tail", "chunks", "padding", "states", "root", "skip")


def changed(tensor: Tensor, rng: random.Random) -> Tensor:
    """A tensor with one bit of it flipped."""
    other = Tensor(tensor.type, tensor.data)
    at = rng.randrange(len(other.data))
    other.data[at] ^= 1 << rng.randrange(8)
    return other


class Story:
    """A run from a first step on, told as it was."""

    lie: Lie | None = None

    def __init__(self, case: Case, first_step: int, steps: int) -> None:
        self.case, self.program = case, case.program
        self.first_step, self.steps = first_step, steps
        self.header: ProgramHeader = program_header(case.program)
        self.constants = [Value.of(tensor) for tensor in case.constants]
        self.states: list[list[Value]] = [[Value.of(tensor) for tensor in case.state]]
        self.known: dict[int, tuple[list[Value], Tree]] = {}
        self.firsts = [len(self.program.states) + len(self.program.constants)]
        for kernel in self.program.kernels:
            self.firsts.append(self.firsts[-1] + len(kernel.outputs))

    def with_lie(self, lie: Lie) -> Story:
        """The same run, but for what a lie changes."""
        other = Story(self.case, self.first_step, self.steps)
        self.state(lie.step)
        other.states = self.states[: lie.step + 1]
        other.lie = lie
        return other

    @property
    def claim(self) -> Claim:
        constants = Tree([value.digest for value in self.constants]).root if self.constants else EMPTY
        return Claim(self.header.root, constants, self.root(0), self.root(self.steps), self.first_step, self.steps)

    # STATES

    def state(self, step: int) -> list[Value]:
        """The state before a step, counted from the first."""
        while len(self.states) <= step:
            self.states.append(self.next_state(len(self.states) - 1))
        return self.states[step]

    def next_state(self, step: int) -> list[Value]:
        values, _ = self.trace(step)
        state = [values[number] for number in self.program.next_state]
        if self.is_lie(step, "slot") or self.is_lie(step, "padding"):
            assert self.lie is not None
            slot = self.lie.number % len(state)
            state[slot] = Value.of(changed(state[slot].tensor, random.Random(self.lie.seed)))
        if self.is_lie(step, "skip"):
            state = self.state(step)
        self.forget(step - 1)
        return state

    def state_tree(self, step: int) -> Tree:
        digests = [value.digest for value in self.state(step)]
        tree = Tree(digests)
        if self.is_lie(step - 1, "states") and len(digests) < len(tree.levels[0]):
            tree = Tree([*digests, leaf(b"padding")], len(digests))
        return tree

    def root(self, step: int) -> bytes:
        """The state root before a step; after the last, the one that is claimed."""
        if self.is_lie(step - 1, "root"):
            return leaf(b"nothing has this leaf as its state root")
        return self.state_tree(step).root

    def is_lie(self, step: int, kind: str) -> bool:
        return self.lie is not None and self.lie.kind == kind and self.lie.step == step

    # TRACES

    def trace(self, step: int) -> tuple[list[Value], Tree]:
        """All values of a step with the tree over them."""
        if step not in self.known:
            self.known[step] = self.told(step)
        return self.known[step]

    def forget(self, step: int) -> None:
        """Long runs do not keep every value."""
        self.known.pop(step, None)

    def told(self, step: int) -> tuple[list[Value], Tree]:
        lie = self.lie if self.lie is not None and self.lie.step == step else None
        values = [*self.state(step), *self.constants]
        if lie is not None and lie.kind == "input":
            at = lie.number % len(values)
            values[at] = Value.of(changed(values[at].tensor, random.Random(lie.seed)))
        inputs = len(values)
        for kernel in self.program.kernels:
            made = run_kernel(kernel, [value.tensor for value in values], self.first_step + step)
            for tensor in made:
                is_target = lie is not None and inputs + lie.number % (self.header.values - inputs) == len(values)
                values.append(self.value_told(tensor, lie if is_target else None))
        digests = [value.digest for value in values]
        tree = Tree(digests)
        if lie is not None and lie.kind == "padding" and len(digests) < len(tree.levels[0]):
            tree = Tree([*digests, leaf(b"padding")], len(digests))
        return values, tree

    def value_told(self, tensor: Tensor, lie: Lie | None) -> Value:
        """A value as it was computed, or what a lie makes of it."""
        honest = Value.of(tensor)
        if lie is None:
            return honest
        data, leaves = bytes(tensor.data), list(honest.chunks.levels[0][: honest.chunks.count])
        match lie.kind:
            case "value":
                return Value.of(changed(tensor, random.Random(lie.seed)))
            case "digest":
                return Value(tensor, honest.chunks, leaf(b"nothing has this leaf as its digest"))
            case "dims":
                other = TensorType(tensor.type.dtype, (*tensor.type.shape, 1))
                return Value(tensor, honest.chunks, tensor_digest_of_root(other, honest.chunks.root))
            case "tail":
                last = data[(len(leaves) - 1) * 1024 :]
                chunks = Tree([*leaves[:-1], leaf(last + b"\0")])
                return Value(tensor, chunks, tensor_digest_of_root(tensor.type, chunks.root))
            case "chunks" if len(leaves) < len(honest.chunks.levels[0]):
                chunks = Tree([*leaves, leaf(b"")], len(leaves))
                return Value(tensor, chunks, tensor_digest_of_root(tensor.type, chunks.root))
        return honest

    # ELEMENTS

    def kernel_of(self, value: int) -> int:
        """The number of the kernel that makes a value."""
        return next(number for number, (low, high) in enumerate(pairwise(self.firsts)) if low <= value < high)

    def kernel(self, value: int) -> Kernel:
        return self.program.kernels[self.kernel_of(value)]

    def place(self, step: int, value: int, element: int) -> Place:
        return Place(value - self.firsts[self.kernel_of(value)], element, self.first_step + step)

    def accumulators(self, step: int, value: int, element: int, position: int) -> list[int]:
        """The words before a scalar step, computed from this story's values."""
        kernel, values = self.kernel(value), [each.tensor for each in self.trace(step)[0]]
        words = first_accumulators(kernel)
        place = self.place(step, value, element)
        for number in range(position):
            words = run_scalar_step(kernel, place, number, words, TensorWords(kernel, values))
        return words

    @cached_property
    def kernel_tree(self) -> Tree:
        return Tree(kernel_leaves(self.program))

    def kernel_opening(self, value: int) -> KernelOpening:
        return open_kernel(self.program, self.kernel_of(value))
