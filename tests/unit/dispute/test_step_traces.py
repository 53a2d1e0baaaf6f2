"""What players know of a step and of an element, against the definition; and replays, false and true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from disputes.stage import SpecComputation, Stage, false_element, tensors, torture_stage
from tallystick.commitment import HashlibHasher
from tallystick.dispute import FaultyReplay, Replay, StepTrace
from tallystick.dispute.elements import ElementTrace
from tallystick.dispute.step_trace import maker_of
from tallystick.dispute.tensors import ArrayWords, CommittedTensor
from tallystick.spec.digests import constants_root, open_chunk, state_root, tensor_digest, trace_root, verify_chunk
from tallystick.spec.kernels import TensorWords
from tallystick.spec.merkle import merkle_root, verify
from tallystick.spec.programs import run, run_step
from tallystick.spec.scalar_steps import Place, first_accumulators, run_scalar_step, scalar_steps
from tallystick.spec.tensors import Tensor
from torture_program import FIRST_STEP, tensor_of, torture

AT = 2


@pytest.fixture(scope="module")
def stage() -> Stage:
    return torture_stage()


@pytest.fixture(scope="module")
def values() -> list[Tensor]:
    """All values of step ``AT`` by the definition."""
    made = torture()
    constants = tensors(made.program.constants, made.constants)
    state = run(made.program, tensors(made.program.states, made.state), constants, FIRST_STEP, AT)
    return run_step(made.program, state, constants, FIRST_STEP + AT)


def digests_of(found: Sequence[Tensor]) -> list[bytes]:
    return [tensor_digest(tensor.type, tensor.data) for tensor in found]


# STEPS


def test_roots_and_trees_of_a_step(stage: Stage, values: list[Tensor]) -> None:
    trace, program = stage.honest.step_trace(AT), stage.program
    digests, states = digests_of(values), len(program.states)
    after = [digests[value] for value in program.next_state]
    assert trace.step == FIRST_STEP + AT
    assert trace.digests == digests and trace.end_digests == after
    assert trace.trace.root == trace_root(digests)
    assert trace.start.root == state_root(digests[:states]) == stage.honest.state_roots([AT])[0]
    assert trace.constants.root == constants_root(digests[states : states + len(program.constants)])
    assert trace.end.root == state_root(after) == stage.honest.state_roots([AT + 1])[0]


def test_tensors_open_chunk_by_chunk(stage: Stage, values: list[Tensor]) -> None:
    trace = stage.honest.step_trace(AT)
    for number, value in enumerate(values):
        tensor = trace.tensor(number)
        for index in range(tensor.tree.count):
            opening = open_chunk(value.data, index)
            assert (tensor.chunk(index), tensor.tree.path(index)) == (opening.chunk, opening.siblings)
            assert verify_chunk(trace.digest(number), value.type, opening)
        size, last = value.type.dtype.size, value.type.elements - 1
        assert tensor.bits(last) == int.from_bytes(value.data[last * size :], "little")


def test_makers_of_values(stage: Stage) -> None:
    program = stage.program
    inputs = len(program.states) + len(program.constants)
    outputs = [(n, kernel, o) for n, kernel in enumerate(program.kernels) for o in range(len(kernel.outputs))]
    for value, (number, kernel, output) in enumerate(outputs, start=inputs):
        made = maker_of(program, value)
        assert (made.number, made.kernel, made.output, made.first_value + output) == (number, kernel, output, value)
    for value in (inputs - 1, inputs + len(outputs)):
        with pytest.raises(AssertionError):
            maker_of(program, value)


# ELEMENTS


def by_definition(trace: StepTrace, values: list[Tensor], value: int, element: int) -> list[list[int]]:
    """The accumulators at every position, one scalar step after the other."""
    made = maker_of(trace.program, value)
    place, words = Place(made.output, element, trace.step), TensorWords(made.kernel, values)
    at = [first_accumulators(made.kernel)]
    for position in range(scalar_steps(made.kernel, element)):
        at.append(run_scalar_step(made.kernel, place, position, at[-1], words))
    return at


NAMES = [
    "row",
    "fold1.0",
    "fold4.2",
    "fold16.3",
    "scan.0",
    "scan.1",
    "gather.0",
    "scatter.add",
    "scatter.place",
    "SELECT",
]


@pytest.mark.parametrize("name", NAMES)
def test_accumulators_in_any_order(stage: Stage, values: list[Tensor], name: str) -> None:
    """Asked for up and down, as bisection asks, and again."""
    trace, value = stage.honest.step_trace(AT), torture().values[name]
    elements = trace.types[value].elements
    for element in {0, 1, elements // 2, elements - 1}:
        want = by_definition(trace, values, value, element)
        accumulators = trace.element_trace(value, element)
        assert accumulators.steps == len(want) - 1
        order = [*range(accumulators.steps, -1, -3), *range(accumulators.steps + 1)]
        assert [accumulators.at(position) for position in order] == [want[position] for position in order]
        assert want[-1] == [trace.tensor(value).bits(element)]


def test_what_is_known_is_not_run_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    trace, value = stage.honest.step_trace(AT), torture().values["fold16.0"]
    ran: list[int] = []

    def counted(kernel, place, position, accumulators, words):
        ran.append(position)
        return run_scalar_step(kernel, place, position, accumulators, words)

    monkeypatch.setattr("tallystick.dispute.elements.run_scalar_step", counted)
    accumulators = trace.element_trace(value, 3)
    for position in (20, 40, 30, 40, 20, accumulators.steps):
        accumulators.at(position)
    assert sorted(ran) == sorted([*range(20), *range(20, 40), *range(20, 30), *range(40, accumulators.steps)])


def test_points_that_miss_are_not_run(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scatter may have millions of source points: only those that write the element are executed."""
    trace, value = stage.honest.step_trace(AT), torture().values["scatter.add"]
    made = maker_of(trace.program, value)
    ran: list[int] = []

    def counted(kernel, place, position, accumulators, words):
        ran.append(position)
        return run_scalar_step(kernel, place, position, accumulators, words)

    monkeypatch.setattr("tallystick.dispute.elements.run_scalar_step", counted)
    words = ArrayWords(made.kernel, trace.types, trace.values)
    accumulators = ElementTrace(made.kernel, Place(0, 7, trace.step), words, lambda: np.array([4, 90]))
    accumulators.at(accumulators.steps)
    assert ran == [0, 5, 91, accumulators.steps - 1]


# REPLAYS


class Counting(SpecComputation):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        made = torture()
        super().__init__(made.program, made.constants)
        self.advanced: list[tuple[int, int]] = []
        self.traced: list[int] = []

    def advance(self, state, step, steps, listener):
        self.advanced.append((step, steps))
        return super().advance(state, step, steps, listener)

    def trace(self, state, step, constants=None):
        self.traced.append(step)
        return super().trace(state, step, constants)


def test_nothing_is_run_twice() -> None:
    computation, heard = Counting(), list[int]()
    replay = Replay(computation, torture().state, FIRST_STEP, HashlibHasher(), None, heard.append)
    replay.state_roots([1, 3])
    replay.state_roots([3, 1])
    replay.state_roots([2])
    first = replay.step_trace(2)
    assert replay.step_trace(2) is first
    assert computation.advanced == [(FIRST_STEP, 1), (FIRST_STEP + 1, 2), (FIRST_STEP + 1, 1)]
    assert computation.traced == [FIRST_STEP + 2]
    assert sum(heard) == 4


def test_a_false_replay_is_true_up_to_its_lie_and_goes_on_from_it(stage: Stage) -> None:
    weight = torture().values["next model.weight"]
    trace = false_element(stage, AT, weight, 5)
    liar = FaultyReplay(stage.truth, AT, [trace])
    honest = stage.honest
    assert liar.state_roots([0, 1, AT]) == honest.state_roots([0, 1, AT])
    assert liar.state_roots([AT + 1])[0] == trace.end.root != honest.state_roots([AT + 1])[0]
    assert liar.step_trace(AT) is trace and liar.step_trace(1).trace.root == honest.step_trace(1).trace.root
    after = Replay(stage.computation, trace.new_state, FIRST_STEP + AT + 1, HashlibHasher())
    assert liar.state_roots([AT + 1, AT + 3]) == after.state_roots([0, 2])
    assert liar.step_trace(AT + 1).trace.root == after.step_trace(0).trace.root


def test_a_false_step_shows_the_lie_and_nothing_else(stage: Stage) -> None:
    value = torture().values["fold4.0"]
    honest = stage.honest.step_trace(AT)
    trace = false_element(stage, AT, value, 2, wrong_step=9)
    wrong = [n for n, (one, other) in enumerate(zip(trace.digests, honest.digests, strict=True)) if one != other]
    assert wrong == [value]
    assert trace.end.root != honest.end.root
    true, false = honest.accumulators(value, 2), trace.accumulators(value, 2)
    for position in range(true.steps + 1):
        assert (true.at(position) == false.at(position)) is (position <= 9)
    assert false.at(true.steps) == [true.at(true.steps)[0] ^ 1]


def test_slots_that_hold_something_else_than_the_program_says(stage: Stage) -> None:
    honest, trace = stage.honest.step_trace(AT), stage.faulty(AT)
    trace.new_state[4] = np.array(77, np.int32)
    assert trace.digests == honest.digests
    wrong = [
        n for n, (one, other) in enumerate(zip(trace.end_digests, honest.end_digests, strict=True)) if one != other
    ]
    assert wrong == [4]
    assert trace.end_digests[4] == tensor_digest(stage.program.states[4], np.array(77, np.int32).tobytes())


def test_commitments_that_no_array_has(stage: Stage) -> None:
    value = torture().values["next model.weight"]
    honest, trace = stage.honest.step_trace(AT), stage.faulty(AT)
    short = CommittedTensor(trace.types[value], honest.tensor(value).chunk(0), stage.hasher)
    trace.commit(value, short)
    assert trace.tensor(value) is short and trace.digest(value) == short.digest != honest.digest(value)
    assert trace.end_digests[0] == short.digest
    assert short.tree.root == merkle_root([short.tree.node(0, 0)])


def test_array_words_are_the_definition_s(stage: Stage, values: list[Tensor]) -> None:
    """Every load slot of every kernel at some points, and every base."""
    trace = stage.honest.step_trace(AT)
    for kernel in stage.program.kernels:
        mine, theirs = ArrayWords(kernel, trace.types, trace.values), TensorWords(kernel, values)
        axes = len(kernel.out_shape) + len(kernel.reduce_shape)
        for slot, view in enumerate(kernel.loads):
            registers = [0] * 300
            for indices in ((0,) * axes, tuple(n - 1 for n in kernel.out_shape + kernel.reduce_shape)):
                assert mine.load(slot, indices, registers) == theirs.load(slot, indices, registers)
            assert slot in mine.addresses and view.value < len(values)
        if kernel.scatter is not None and kernel.scatter.base is not None:
            assert [mine.base(n) for n in range(20)] == [theirs.base(n) for n in range(20)]


def test_states_are_proved_by_their_own_trees(stage: Stage, values: list[Tensor]) -> None:
    trace = stage.honest.step_trace(AT)
    digests = digests_of(values)
    states = len(stage.program.states)
    for slot in (0, 3, states - 1):
        assert verify(trace.start.root, states, slot, digests[slot], trace.start.path(slot))
    assert tensor_of(values[0].type, trace.values[0]).data == values[0].data
