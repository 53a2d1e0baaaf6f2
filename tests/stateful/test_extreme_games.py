"""Games about the largest things that a valid program can have, on the contract and on its definition at once: no
number is cut anywhere, no honest move is refused, no move costs more than one transaction may.
"""

from __future__ import annotations

from dataclasses import fields, replace
from math import prod

import pytest

pytest.importorskip("pyrevm")

from evm.referee_twins import Twins
from gas.scenes import Course, InputCourse, Scene, Size, SlotCourse, words_of
from gas.trees import with_elements
from gas.worst import Dear, Worst
from gas.worst import scene as worst_scene
from sample_programs import ADD, code
from tallystick.chain.referee import SHORT_WITNESS
from tallystick.errors import IllegalMove
from tallystick.ir.verifier import verify_kernel
from tallystick.spec import limits
from tallystick.spec.board import Phase, Side
from tallystick.spec.instructions import Code, Instruction, Op
from tallystick.spec.kernels import Fold, Kernel, Scatter
from tallystick.spec.moves import Execute, Move
from tallystick.spec.referee import Status, Terms
from tallystick.spec.scalar_steps import Work, accumulator_words, first_accumulators, scalar_steps
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

LONGEST_WITNESS = 44_240  # bytes that `execute_long` takes
MOST_GAS = 1 << 24  # what one transaction may take on the strictest chains
WIDE = (64,) * 6 + (16,)  # as many elements as there may be
FLAT = (limits.ELEMENTS,)
LAST = limits.ELEMENTS - 1
LARGEST = Size(steps=limits.STEPS, step=limits.STEPS - 1, states=1 << 19, values=limits.VALUES, kernels=1 << 19)
FIRST_VALUE = limits.VALUES - limits.OUTPUTS
VALUE = (1 << 19) + 77  # that kernels load
F32, I32, U8 = DType.F32, DType.I32, DType.U8
FOUR = limits.ACCUMULATORS
FIRST = View(VALUE, Address(LAST, (0,)))
LOADED = {VALUE: with_elements(TensorType(F32, WIDE), {LAST: 0x3F800001}, b"\x9a\x3b\x7c\x5d")}
WORDS = tuple(words_of(FOUR, "start"))


# KERNELS


def counting(axis: int) -> Code:
    """Four accumulators that grow by the index, of which 32 bits are seen, and by the step's number."""
    sources = [Instruction(Op.ACC, (), n) for n in range(FOUR)]
    sources += [Instruction(Op.INDEX, (), axis), Instruction(Op.STEP)]
    sums = [Instruction(Op.IADD, (n, FOUR + n % 2)) for n in range(FOUR)]
    return Code((*sources, *sums), tuple(range(6, 6 + FOUR)))


def adding(axis: int) -> Code:
    """What is loaded and an index."""
    return code(lambda b: b.iadd(b.index(axis), b.load(0)))


def folded(out_shape: tuple[int, ...], reduce_shape: tuple[int, ...], lanes: int, block: int) -> Kernel:
    """Four accumulators, four outputs."""
    merge = Code(tuple(Instruction(Op.ACC, (), n) for n in range(2 * FOUR)), (7, 2, 5, 0))
    axis = len(out_shape) + len(reduce_shape) - 1
    epilogue = counting(0) if out_shape else Code(merge.instructions[:FOUR], (3, 2, 1, 0))
    fold = Fold(WORDS, lanes, block, merge, epilogue)
    return Kernel(out_shape, reduce_shape, (), counting(axis), (F32, U8, DType.BF16, I32), fold)


def scanned(out_shape: tuple[int, ...], length: int, dtype: DType) -> Kernel:
    axis = len(out_shape)
    merge = Code(tuple(Instruction(Op.ACC, (), n) for n in range(2 * FOUR)), (7, 2, 5, 0))
    fold = Fold(WORDS, 1, length, merge, counting(axis), True)
    return Kernel(out_shape, (length,), (), counting(axis), (dtype,) * FOUR, fold)


def scattered(shape: tuple[int, ...], base: int | None, address: Address) -> Kernel:
    scatter = Scatter(shape, base, 0 if base is not None else 7, address, ADD)
    return Kernel(FLAT, (), (FIRST,), code(lambda b: b.load(0)), (F32,), None, scatter)


KERNELS = {
    "map of the longest axis": Kernel(FLAT, (), (FIRST,), adding(0), (F32,)),
    "map of bytes": Kernel(FLAT, (), (FIRST,), adding(0), (U8,)),
    "map of eight axes": Kernel((32,) * 8, (), (), code(lambda b: b.iadd(b.index(7), b.step())), (I32,)),
    "map of no axes": Kernel((), (), (), code(lambda b: b.step()), (I32,)),
    "fold of as many blocks as points": folded(WIDE, FLAT, 1, 1),
    "fold of one block": folded(WIDE, FLAT, 16, limits.ELEMENTS),
    "fold whose last block is short": folded((), (limits.ELEMENTS - 1,), 16, limits.ELEMENTS // 2),
    "fold of one point": folded((), (1,), 16, limits.ELEMENTS),
    "fold of eight axes": folded((), (32,) * 8, 16, 16),
    "scan of one row": scanned((), limits.ELEMENTS, F32),
    "scan of short rows": scanned(FLAT, 1, U8),
    "scatter of the longest axis": scattered(WIDE, None, Address(0, (1,))),
    "scatter over a base": scattered(WIDE, VALUE, Address(LAST, (0,))),
    "scatter into one element": scattered((), None, Address(-LAST, (1,), (), (Guard(-LAST, (1,), 1),))),
}


# GAMES


def places(kernel: Kernel) -> set[tuple[int, int]]:
    """The first and the last element, and scalar steps of them: where one kind of work becomes another."""
    most = prod(kernel.output_types[0].shape) - 1
    steps = scalar_steps(kernel, most)
    found = {(0, 0), (most, 1), (most, steps - 2), (most, steps - 1)}
    if kernel.fold is not None and not kernel.fold.scan:
        length = kernel.fold.block + kernel.fold.lanes
        last = (steps - 2) // length * length  # the step that the last block begins with
        found |= {(most, last - 1), (most, last)}
    return {(element, position) for element, position in found if 0 <= position < scalar_steps(kernel, element)}


def scene(kernel: Kernel, element: int, position: int, output: int = 0) -> Scene:
    words = first_accumulators(kernel) if position == 0 else words_of(accumulator_words(kernel), position)
    last = LARGEST.kernels - 1
    return Scene(kernel, element, position, tuple(words), LOADED, LARGEST, FIRST_VALUE, last, output)


def play(twins: Twins, course: Course) -> Side:
    """A game from the claim to its end, every move of which is legal, and compared."""
    worker, challenger = twins.accounts[:2]
    claim = twins.post_claim(worker, course.claim)
    number = twins.challenge(challenger, claim)
    game = twins.spec.games[number].game
    while game.phase is not Phase.OVER:
        account = worker if game.turn is Side.DEFENDER else challenger
        twins.move(account, number, course.answer(game, twins.spec.terms.fanout))
        assert twins.contract.gas <= MOST_GAS
    assert twins.spec.claims[claim].status is (Status.CONVICTED if game.winner is Side.CHALLENGER else Status.OPEN)
    return game.winner


@pytest.mark.parametrize("name", KERNELS)
def test_the_largest_kernels_can_be_decided(name: str) -> None:
    kernel = KERNELS[name]
    verify_kernel(kernel, [TensorType(F32, WIDE)] * FIRST_VALUE)
    twins = Twins(Terms(fanout=64), accounts=2)
    for count, (element, position) in enumerate(sorted(places(kernel))):
        there = scene(kernel, element, position, count % len(kernel.outputs))
        true = count % 2 == 1
        assert play(twins, Course(there, true)) is (Side.DEFENDER if true else Side.CHALLENGER)


@pytest.mark.parametrize("course", [InputCourse, SlotCourse])
def test_inputs_and_slots_of_the_largest_programs(course: type[Course]) -> None:
    assert play(Twins(Terms(fanout=2), accounts=2), course(scene(KERNELS["map of no axes"], 0, 0))) is Side.CHALLENGER


class Insisting(Twins):
    """Before every move the same with a number that no field can hold, which both refuse for the same reason."""

    tried = 0

    def move(self, sender: str, number: int, move: Move) -> None:
        for field in fields(move):
            if type(getattr(move, field.name)) is int:
                for value in (1 << 32, 1 << 40, 1 << 64, 1 << 128, (1 << 256) - 1):
                    self.tried += 1
                    with pytest.raises(IllegalMove):
                        super().move(sender, number, replace(move, **{field.name: value}))
        super().move(sender, number, move)


@pytest.mark.parametrize("course", [Course, SlotCourse])
def test_numbers_that_are_too_large(course: type[Course]) -> None:
    twins = Insisting(Terms(fanout=32), accounts=2)
    assert play(twins, course(scene(KERNELS["scan of one row"], LAST, 12_345))) is Side.CHALLENGER
    assert twins.tried > 40


def test_the_longest_witness_fits() -> None:
    """One more byte is of no leaf that a valid program has."""
    there = worst_scene(Worst("scatter", Work.PLACE, Dear(Op.FADD, (0x3F800001, 0x40000000))))
    course = Course(there)
    assert len(course.witness()) == LONGEST_WITNESS
    twins = Twins(Terms(fanout=64), accounts=2)
    assert play(twins, course) is Side.CHALLENGER
    assert twins.contract.spent[-1][0] == "execute_long"


@pytest.mark.parametrize("length", [0, 1, SHORT_WITNESS, SHORT_WITNESS + 1, LONGEST_WITNESS])
def test_witnesses_of_other_lengths_are_refused_alike(length: int) -> None:
    class Padding(Twins):
        def move(self, sender: str, number: int, move: Move) -> None:
            if isinstance(move, Execute):
                other = (move.witness + bytes(LONGEST_WITNESS))[:length]
                with pytest.raises(IllegalMove, match="malformed witness"):
                    super().move(sender, number, replace(move, witness=other))
            super().move(sender, number, move)

    course = Course(scene(KERNELS["map of bytes"], LAST, 0))
    assert play(Padding(Terms(fanout=64), accounts=2), course) is Side.CHALLENGER
