"""Scalar steps executed by the contract and by the definition."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from eth_abi.abi import encode

from evm.contracts import Deployed, Reverted, selector
from property.strategies import Case, random_word
from tallystick.chain.referee import SHORT_WITNESS
from tallystick.errors import DecodingError, IllegalMove
from tallystick.spec.digests import tensor_digest, trace_root, words_digest
from tallystick.spec.encoding import decode_kernel, encode_kernel
from tallystick.spec.kernels import Kernel, TensorWords
from tallystick.spec.leaf import Trace, execute_leaf
from tallystick.spec.programs import run_step
from tallystick.spec.scalar_steps import Place, accumulator_words, first_accumulators, run_scalar_step, scalar_steps
from tallystick.spec.tensors import Tensor
from witnesses import write_witness

EXECUTE = "(bytes,uint256,(uint256,uint256,uint256),uint256,bytes,bytes,(bytes32,uint256))"
TYPES = ("bytes", "uint256", "(uint256,uint256,uint256)", "uint256", "bytes", "bytes", "(bytes32,uint256)")

REFUSALS = (DecodingError, IllegalMove, AssertionError, IndexError, ValueError)
"""How the definition refuses. Of kernels that no verifier accepts it only says that something is missing."""


@dataclass(frozen=True)
class Leaf:
    """Everything that a scalar step is executed from."""

    kernel: bytes
    first_value: int
    place: Place
    position: int
    accumulators: tuple[int, ...]
    witness: bytes
    trace: Trace

    def by_definition(self) -> bytes:
        """The digest of the words after the step.

        Raises: one of REFUSALS.
        """
        kernel = decode_kernel(self.kernel)
        words = list(self.accumulators)
        after = execute_leaf(kernel, self.first_value, self.place, self.position, words, self.witness, self.trace)
        return words_digest(after)


class LeafContract:
    """`LeafExecutor.vy` behind the definition's types."""

    def __init__(self) -> None:
        self.contract = Deployed("LeafExecutor")

    def execute(self, leaf: Leaf) -> bytes:
        """The digest of the words after a scalar step.

        Raises: Reverted, with the contract's reason.
        """
        place = (leaf.place.output, leaf.place.element, leaf.place.step)
        words = b"".join(word.to_bytes(4, "little") for word in leaf.accumulators)
        trace = (leaf.trace.root, leaf.trace.values)
        values = (leaf.kernel, leaf.first_value, place, leaf.position, words, leaf.witness, trace)
        name = "execute_leaf" if len(leaf.witness) <= SHORT_WITNESS else "execute_long_leaf"
        return self.contract.call_raw(selector(name + EXECUTE) + encode(TYPES, values))

    @property
    def gas_used(self) -> int:
        """By the last call, calldata and the fixed price of a transaction included."""
        return self.contract.gas_used


@dataclass(frozen=True)
class Traced:
    """One step of a program with everything it made."""

    case: Case
    values: list[Tensor]
    digests: list[bytes]

    @property
    def trace(self) -> Trace:
        return Trace(trace_root(self.digests), len(self.digests))

    def kernels(self) -> Iterator[tuple[int, Kernel]]:
        """Every kernel with the number of its first output."""
        first = len(self.case.program.states) + len(self.case.program.constants)
        for kernel in self.case.program.kernels:
            yield first, kernel
            first += len(kernel.outputs)

    def leaf(self, first: int, kernel: Kernel, place: Place, position: int, words: Sequence[int]) -> Leaf:
        """A scalar step with the witness that an honest party writes."""
        witness = write_witness(kernel, place, position, list(words), self.values, self.digests)
        return Leaf(encode_kernel(kernel), first, place, position, tuple(words), witness, self.trace)

    def element_leaves(self, first: int, kernel: Kernel, place: Place, most: int) -> Iterator[Leaf]:
        """The scalar steps of an element in order: the first and last ones, and some between, ``most`` in all."""
        steps = scalar_steps(kernel, place.element)
        wanted = set(range(most // 2)) | set(range(steps - most // 4, steps))
        wanted |= set(range(0, steps, max(1, 4 * steps // most)))
        words = first_accumulators(kernel)
        for position in range(steps):
            if position in wanted:
                yield self.leaf(first, kernel, place, position, words)
            words = run_scalar_step(kernel, place, position, words, TensorWords(kernel, self.values))


def traced(case: Case) -> Traced:
    """Run the first step of a case."""
    values = run_step(case.program, case.state, case.constants, case.first_step)
    return Traced(case, values, [tensor_digest(value.type, value.data) for value in values])


def with_kernel(leaf: Leaf, kernel_bytes: bytes, rng: random.Random) -> Leaf:
    """The leaf with another kernel; if that one reads as a kernel, at a step and with as many words as it has."""
    try:
        kernel = decode_kernel(kernel_bytes)
        words = tuple(random_word(rng) for _ in range(accumulator_words(kernel)))
        position = min(leaf.position, scalar_steps(kernel, leaf.place.element) - 1)
    except REFUSALS:
        return replace(leaf, kernel=kernel_bytes)
    return replace(leaf, kernel=kernel_bytes, accumulators=words, position=position)


def outcome(contract: LeafContract, leaf: Leaf) -> bytes | str:
    """The digest that the contract comes to, or its reason to refuse, which it always has."""
    try:
        return contract.execute(leaf)
    except Reverted as refusal:
        assert str(refusal), "refused without a reason"
        return str(refusal)


def definition(leaf: Leaf) -> bytes | None:
    """The digest that the definition comes to, or None where it refuses."""
    try:
        return leaf.by_definition()
    except REFUSALS:
        return None
