"""What is said of a computation in each phase of a game: the parts that players share."""

from __future__ import annotations

from tallystick.commitment import MerkleTree
from tallystick.dispute.revealed_trace import RevealedTrace
from tallystick.dispute.step_trace import StepTrace, maker_of
from tallystick.dispute.tensors import ArrayWords
from tallystick.spec.board import Game, Tree
from tallystick.spec.digests import CHUNK, open_slot
from tallystick.spec.encoding import encode_kernel
from tallystick.spec.game import WORD, levels
from tallystick.spec.instructions import Code, run_registers
from tallystick.spec.kernels import Kernel, StepEnvironment
from tallystick.spec.leaf import encode_nothing, encode_outside, encode_word, is_open, witnessed_values
from tallystick.spec.moves import Execute, ProveInput, ProveSlot
from tallystick.spec.scalar_steps import (
    Place,
    ScalarStep,
    Work,
    out_indices,
    scalar_step,
    store_code,
    store_indices,
    unravel,
)


def packed(words: list[int]) -> bytes:
    """Accumulators as bytes."""
    return b"".join(word.to_bytes(WORD, "little") for word in words)


def tree_of(game: Game, trace: StepTrace) -> MerkleTree:
    """The tree that a game descends, as a player has it."""
    if game.tree is Tree.TRACE:
        return trace.trace
    if game.tree is Tree.STATE:
        return trace.end
    return trace.tensor(game.value).tree


def children_of(tree: MerkleTree, height: int, index: int, fanout: int) -> tuple[bytes, ...]:
    """What one move reveals below a node; nothing below a leaf."""
    return tree.children(height, index, levels(height, fanout)) if height else ()


# PROOFS


def prove_input(game: Game, trace: StepTrace) -> ProveInput:
    """The digest that the state before the step, or the constants, have at the disputed value."""
    if game.value < game.states:
        return ProveInput(trace.start.node(0, game.value), trace.start.path(game.value))
    number = game.value - game.states
    return ProveInput(trace.constants.node(0, number), trace.constants.path(number))


def prove_slot(game: Game, trace: StepTrace) -> ProveSlot:
    """The value that the program puts into the disputed slot, and its digest."""
    slot = open_slot(trace.program, game.index)
    value = slot.next_value
    return ProveSlot(
        trace.header,
        slot.type_bytes,
        value,
        slot.siblings,
        trace.trace.node(0, value),
        trace.trace.path(value),
    )


def execute(game: Game, trace: StepTrace, revealed: RevealedTrace) -> Execute:
    """Everything the disputed scalar step needs."""
    made = maker_of(trace.program, game.value)
    accumulators = trace.accumulators(game.value, game.element).at(game.low)
    place = Place(made.output, game.element, trace.step)
    witness = write_witness(made.kernel, place, game.low, accumulators, trace, revealed)
    return Execute(made.first_value, encode_kernel(made.kernel), tuple(accumulators), witness)


def write_witness(
    kernel: Kernel, place: Place, position: int, accumulators: list[int], trace: StepTrace, revealed: RevealedTrace
) -> bytes:
    """What proves the words that one scalar step loads: ``spec.leaf`` says how it is written."""
    now = scalar_step(kernel, place.element, position)
    numbers = witnessed_values(kernel, now.work)
    if now.work is Work.START:
        return b"".join(witness_entry(number, place.element, trace, revealed) for number in numbers)
    if not numbers:
        return b""
    words = ArrayWords(kernel, trace.types, trace.values)
    code, indices, seen = surroundings(kernel, place, now, accumulators)
    run_registers(code, StepEnvironment(indices, place.step, words, seen))
    entries: list[bytes] = []
    for slot, number in enumerate(numbers):
        read = slot in words.addresses and is_open(kernel.loads[slot], indices)
        entries.append(witness_entry(number, words.addresses[slot], trace, revealed) if read else encode_nothing())
    return b"".join(entries)


def surroundings(
    kernel: Kernel, place: Place, now: ScalarStep, accumulators: list[int]
) -> tuple[Code, tuple[int, ...], list[int]]:
    """Which code a scalar step runs, at which indices, and the accumulators it sees."""
    if now.work is Work.PLACE:
        return kernel.body, unravel(now.point, kernel.out_shape), []
    count = len(kernel.fold.init) if kernel.fold is not None else 0
    if now.work is Work.STORE:
        return store_code(kernel), store_indices(kernel, place.element), accumulators[len(accumulators) - count :]
    indices = out_indices(kernel, place.element) + unravel(now.point, kernel.reduce_shape)
    return kernel.body, indices, accumulators[now.left * count : (now.left + 1) * count]


def witness_entry(value: int, element: int | None, trace: StepTrace, revealed: RevealedTrace) -> bytes:
    """One entry of a witness: a word, or the proof that an address falls outside."""
    tensor = trace.tensor(value)
    path = revealed.path_of(value, trace.trace)
    if element is None:
        return encode_outside(tensor.type, tensor.tree.root, path)
    index = element * tensor.type.dtype.size // CHUNK
    return encode_word(tensor.type, element, tensor.chunk(index), list(tensor.tree.path(index)), path)
