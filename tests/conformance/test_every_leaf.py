"""Every end that a dispute can have, forced in both roles: each instruction, each kind of scalar step, each proof.

The liar's accumulators go wrong exactly at the scalar step where the game is to end, or his trees exactly at the node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from disputes.stage import CHALLENGER, WORKER, PublicArena, Stage, false_element, lie, quick_terms, torture_stage
from tallystick.commitment import MerkleTree
from tallystick.dispute import LocalArena
from tallystick.dispute.answers import surroundings, witness_entry
from tallystick.dispute.lies import FaultyTrace
from tallystick.dispute.revealed_trace import RevealedTrace
from tallystick.dispute.step_trace import MadeBy, maker_of
from tallystick.dispute.tensors import ArrayWords, CommittedTensor
from tallystick.errors import IllegalMove
from tallystick.spec.board import Level, Phase, Side, Tree
from tallystick.spec.digests import chunk_count
from tallystick.spec.instructions import Op, run_registers
from tallystick.spec.kernels import StepEnvironment
from tallystick.spec.leaf import (
    NOTHING,
    OUTSIDE,
    WORD,
    Trace,
    encode_nothing,
    execute_leaf,
    is_open,
    read_witness,
    witnessed_values,
)
from tallystick.spec.moves import Execute, PointChild, ProveInput, ProveSlot
from tallystick.spec.scalar_steps import Place, Work, scalar_step, scalar_steps
from tallystick.spec.tensors import DType
from tallystick.spec.views import locate
from torture_program import torture

UNREAD = -1  # a slot of a code that the scalar step does not run
AT = 1  # the step that is lied about, of a claim that ends with it

Arenas = Callable[[], PublicArena]


@pytest.fixture(scope="module", params=["spec", "contract"])
def new_arena(request: pytest.FixtureRequest) -> Arenas:
    """Makes arenas of the definition alone, or of the contract beside it."""
    if request.param == "spec":
        return lambda: LocalArena(quick_terms())
    pytest.importorskip("pyrevm")
    from evm.twin_arena import TwinArena

    return lambda: TwinArena(quick_terms())


@cache
def the_stage() -> Stage:
    return torture_stage()


@pytest.fixture(scope="module")
def stage() -> Stage:
    return the_stage()


# SCALAR STEPS


@dataclass(frozen=True)
class Leaf:
    """A kind of scalar step: of which value, doing what, and how its words are loaded (one of them, at least)."""

    value: str
    work: Work
    mode: int | None = None
    hits: bool | None = None
    right: int | None = None
    dropped: bool = False  # a miss, but for the guards

    def __str__(self) -> str:
        mode = {None: "", NOTHING: " closed", OUTSIDE: " outside", WORD: " word"}[self.mode]
        hits = {None: "", True: " hit", False: " miss"}[self.hits]
        right = "" if self.right is None else " later" if self.right else " first"
        dropped = " dropped" if self.dropped else ""
        return f"{self.work.name} {self.value}{right}{hits}{dropped}{mode}"


def leaves() -> Iterator[Leaf]:
    """Every kind there is in the torture program."""
    for op in Op:
        if op is not Op.ACC:  # which maps have none of; every fold reads them
            yield Leaf(op.name, Work.STORE)
    for dtype in DType:
        name = f"cells.{dtype.name}" if dtype is not DType.F32 else "special"
        yield Leaf(f"next {name}", Work.STORE, WORD)
    for lanes in (1, 2, 4, 8, 16):
        outputs = [name for name in torture().values if name.startswith(f"fold{lanes}.")]
        for name in outputs:
            yield Leaf(name, Work.STORE, WORD)
        yield Leaf(outputs[0], Work.STORE, NOTHING)
        yield Leaf(outputs[-1], Work.UPDATE, WORD)
        yield Leaf(outputs[-1], Work.MERGE_BLOCK, right=0)
        yield Leaf(outputs[0], Work.MERGE_BLOCK, right=1)
        if lanes > 1:
            yield Leaf(outputs[-1], Work.MERGE_LANES)
        if lanes > 2:
            yield Leaf(outputs[0], Work.UPDATE, NOTHING)
        if lanes == 8:  # accumulators are addresses, and each lane has more than one point
            yield Leaf(outputs[-1], Work.UPDATE, OUTSIDE)
            yield Leaf(outputs[-1], Work.STORE, OUTSIDE)
    for name in ("scan.0", "scan.1"):
        yield Leaf(name, Work.UPDATE, WORD)
        yield Leaf(name, Work.STORE, WORD)
    for mode in (NOTHING, OUTSIDE, WORD):
        yield Leaf("gather.0", Work.STORE, mode)
    for name in ("scatter.add", "scatter.place", "scatter.stride"):
        yield Leaf(name, Work.START)
        yield Leaf(name, Work.PLACE, WORD, hits=True)
        yield Leaf(name, Work.PLACE, WORD, hits=False)
        yield Leaf(name, Work.STORE)
    yield Leaf("scatter.add", Work.PLACE, WORD, hits=False, dropped=True)


@cache
def places(name: str) -> list[tuple[int, int]]:
    """Elements of a value, the last ones first, with their scalar steps."""
    made = maker_of(torture().program, torture().values[name])
    elements = made.kernel.output_types[made.output].elements
    return [(element, scalar_steps(made.kernel, element)) for element in reversed(range(elements))]


@cache
def find(leaf: Leaf) -> tuple[int, int]:
    """An element and a position of this kind."""
    stage = the_stage()
    trace = stage.truth.step_trace(AT)
    made = maker_of(stage.program, torture().values[leaf.value])
    for element, steps in places(leaf.value):
        for position in range(steps):
            now = scalar_step(made.kernel, element, position)
            if now.work is not leaf.work or leaf.right not in (None, now.right):
                continue
            place = Place(made.output, element, trace.step)
            accumulators = trace.accumulators(torture().values[leaf.value], element).at(position)
            words = ArrayWords(made.kernel, trace.types, trace.values)
            modes, registers, indices = loaded(made, place, position, accumulators, words)
            if leaf.mode is not None and leaf.mode not in modes:
                continue
            if leaf.hits is not None and places_as(leaf, made, element, indices, registers) is not leaf.hits:
                continue
            return element, position
    raise AssertionError(f"the program has no {leaf}")


def places_as(leaf: Leaf, made: MadeBy, element: int, indices: tuple[int, ...], registers: list[int]) -> bool | None:
    """Whether a source point hits the element; None where it is not dropped as the leaf wants it."""
    assert made.kernel.scatter is not None
    address, elements = made.kernel.scatter.address, made.kernel.output_types[0].elements
    hits = locate(address, indices, registers, elements) == element
    if leaf.dropped and locate(replace(address, guards=()), indices, registers, elements) != element:
        return None
    return hits


def loaded(
    made: MadeBy, place: Place, position: int, accumulators: list[int], words: ArrayWords
) -> tuple[list[int], list[int], tuple[int, ...]]:
    """How every slot is loaded at a scalar step that runs a code; the registers; the indices."""
    now = scalar_step(made.kernel, place.element, position)
    if now.work not in (Work.UPDATE, Work.PLACE, Work.STORE) or not witnessed_values(made.kernel, now.work):
        return [], [], ()
    code, indices, seen = surroundings(made.kernel, place, now, accumulators)
    registers = run_registers(code, StepEnvironment(indices, place.step, words, seen))
    modes = []
    for slot, view in enumerate(made.kernel.loads):
        if slot not in words.addresses:
            modes.append(UNREAD)
        elif not is_open(view, indices):
            modes.append(NOTHING)
        else:
            modes.append(OUTSIDE if words.addresses[slot] is None else WORD)
    return modes, registers, indices


# The same leaf is executed in both roles, so that one of them is enough for the contract in a quick run.
@pytest.mark.parametrize(
    ("new_arena", "role"),
    [
        ("spec", WORKER),
        ("spec", CHALLENGER),
        ("contract", WORKER),
        pytest.param("contract", CHALLENGER, marks=pytest.mark.slow),
    ],
    indirect=["new_arena"],
)
@pytest.mark.parametrize("leaf", list(leaves()), ids=str)
def test_scalar_steps(stage: Stage, new_arena: Arenas, leaf: Leaf, role: str) -> None:
    value = torture().values[leaf.value]
    element, position = find(leaf)
    played = lie(stage, [false_element(stage, AT, value, element, position)], AT, role, AT + 1, new_arena())
    played.check_verdict()
    assert all(turn.move is not None and turn.trouble is None for turn in played.played.turns)
    turn, before = played.last, played.last.before
    assert isinstance(turn.move, Execute) and turn.side is Side.CHALLENGER
    assert (before.phase, before.level, before.step) == (Phase.EXECUTE, Level.SCALAR_STEPS, AT)
    assert (before.value, before.element, before.low) == (value, element, position)
    kernel = maker_of(stage.program, value).kernel
    assert scalar_step(kernel, element, position).work is leaf.work
    if leaf.mode is not None:
        values = witnessed_values(kernel, leaf.work)
        entries = read_witness(turn.move.witness, values, Trace(before.trace_root, before.values))
        assert leaf.mode in [entry.mode for entry in entries]


def test_every_instruction_and_every_scalar_step_is_among_them() -> None:
    kernels = torture().program.kernels
    codes = [kernel.body for kernel in kernels]
    codes += [code for kernel in kernels if kernel.fold for code in (kernel.fold.merge, kernel.fold.epilogue)]
    assert {instruction.op for code in codes for instruction in code.instructions} == set(Op)
    assert {leaf.work for leaf in leaves()} == set(Work)
    assert {op.name for op in Op} - {leaf.value for leaf in leaves()} == {Op.ACC.name}


@pytest.mark.parametrize("leaf", [leaf for leaf in leaves() if leaf.mode in (NOTHING, OUTSIDE)], ids=str)
def test_what_is_not_loaded_cannot_be_proved(stage: Stage, leaf: Leaf) -> None:
    """A word in the place of a closed guard or of an address outside is refused, though it is in the trace."""
    value = torture().values[leaf.value]
    element, position = find(leaf)
    trace, made = stage.honest.step_trace(AT), maker_of(stage.program, value)
    place, accumulators = Place(made.output, element, trace.step), trace.accumulators(value, element).at(position)
    words = ArrayWords(made.kernel, trace.types, trace.values)
    modes, _, _ = loaded(made, place, position, accumulators, words)
    revealed = RevealedTrace(value, trace.digest(value), trace.trace.path(value))
    entries = []
    for slot, (view, mode) in enumerate(zip(made.kernel.loads, modes, strict=True)):
        at = words.addresses[slot] if mode == WORD else 0
        entries.append(encode_nothing() if mode == UNREAD else witness_entry(view.value, at, trace, revealed))
    root = Trace(trace.trace.root, len(trace.types))
    with pytest.raises(IllegalMove, match="guard is closed" if NOTHING in modes else "address is outside"):
        execute_leaf(made.kernel, made.first_value, place, position, accumulators, b"".join(entries), root)


# INPUTS, SLOTS


def another(stage: Stage, name: str) -> tuple[int, FaultyTrace]:
    """A step with one input shown with a false bit; the new state is false too, or there were nothing to dispute."""
    value = torture().values[name]
    trace = false_element(stage, AT, value, 0)
    trace.new_state[0] = np.zeros_like(trace.new_state[0])
    return value, trace


@pytest.mark.parametrize("role", [WORKER, CHALLENGER])
@pytest.mark.parametrize("name", ["model.weight", "model.right", "cells.BF16", "order", "table.never_read"])
def test_inputs(stage: Stage, new_arena: Arenas, name: str, role: str) -> None:
    value, trace = another(stage, name)
    played = lie(stage, [trace], AT, role, AT + 1, new_arena())
    played.check_verdict()
    assert isinstance(played.last.move, ProveInput)
    assert (played.last.before.phase, played.last.before.value) == (Phase.PROVE_INPUT, value)


@pytest.mark.parametrize("role", [WORKER, CHALLENGER])
@pytest.mark.parametrize("name", ["model.weight", "model.left", "record.STEP", "count"])
def test_slots(stage: Stage, new_arena: Arenas, name: str, role: str) -> None:
    slot = list(stage.state_names).index(name)
    trace = stage.faulty(AT)
    trace.new_state[slot] = np.ones_like(trace.new_state[slot])
    played = lie(stage, [trace], AT, role, AT + 1, new_arena())
    played.check_verdict()
    assert isinstance(played.last.move, ProveSlot)
    assert (played.last.before.phase, played.last.before.index) == (Phase.PROVE_SLOT, slot)


def test_slots_that_do_not_trade_places(stage: Stage, new_arena: Arenas) -> None:
    """The program says that left becomes right; the liar leaves it."""
    trace = stage.faulty(AT)
    trace.new_state[2], trace.new_state[3] = trace.state[2], trace.state[3]
    played = lie(stage, [trace], AT, WORKER, AT + 1, new_arena())
    played.check_verdict()
    assert isinstance(played.last.move, ProveSlot) and played.last.before.index == 2


# PADDING


def with_padding(stage: Stage, tree: Tree) -> FaultyTrace:
    """A step with a digest in a leaf that does not exist, and with nothing else that is wrong."""
    trace, junk = stage.faulty(AT), b"\x5a" * 32
    if tree is Tree.TRACE:
        trace.new_state[0] = np.zeros_like(trace.new_state[0])
        trace.__dict__["trace"] = MerkleTree([*trace.digests, junk], stage.hasher)
    elif tree is Tree.STATE:
        trace.__dict__["end"] = MerkleTree([*trace.end_digests, junk], stage.hasher)
    else:
        value = torture().values["next model.weight"]
        tensor = CommittedTensor.of(trace.types[value], trace.values[value], stage.hasher)
        leaves = [tensor.tree.node(0, chunk) for chunk in range(tensor.tree.count)]
        tensor.__dict__["tree"] = MerkleTree([*leaves, junk], stage.hasher)
        trace.commit(value, tensor)
    return trace


@pytest.mark.parametrize("role", [WORKER, CHALLENGER])
@pytest.mark.parametrize("tree", list(Tree), ids=lambda tree: tree.name)
def test_padding(stage: Stage, new_arena: Arenas, tree: Tree, role: str) -> None:
    played = lie(stage, [with_padding(stage, tree)], AT, role, AT + 1, new_arena())
    played.check_verdict()
    counts = {
        Tree.TRACE: len(stage.program.value_types),
        Tree.STATE: len(stage.program.states),
        Tree.CHUNKS: chunk_count(stage.program.states[0].nbytes),
    }
    assert isinstance(played.last.move, PointChild) and played.last.after.tree is tree
    assert played.last.after.index == counts[tree]
