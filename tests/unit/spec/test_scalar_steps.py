"""An element run in scalar steps, with words from tensors or proved by witnesses, has the bits the kernel gives it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

import sample_programs
from property.strategies import Case, cases, fill
from tallystick.errors import IllegalMove
from tallystick.spec.digests import tensor_digest, trace_root
from tallystick.spec.kernels import Fold, Kernel, TensorWords
from tallystick.spec.leaf import Trace, execute_leaf
from tallystick.spec.programs import Program, run_step
from tallystick.spec.scalar_steps import (
    Place,
    Work,
    accumulator_words,
    first_accumulators,
    fold_step,
    run_scalar_step,
    scalar_steps,
)
from tallystick.spec.tensors import Tensor
from witnesses import write_witness

always = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
MOST_STEPS = 300  # of an element that is run in full


def kernels_of(program: Program) -> list[tuple[int, Kernel]]:
    """Every kernel with the number of its first output."""
    first = len(program.states) + len(program.constants)
    found = []
    for kernel in program.kernels:
        found.append((first, kernel))
        first += len(kernel.outputs)
    return found


def check_case(case: Case) -> None:
    values = run_step(case.program, case.state, case.constants, case.first_step)
    digests = [tensor_digest(value.type, value.data) for value in values]
    for first, kernel in kernels_of(case.program):
        for output in range(len(kernel.outputs)):
            made = values[first + output]
            for element in {0, made.type.elements // 2, made.type.elements - 1}:
                if scalar_steps(kernel, element) <= MOST_STEPS:
                    bits = run_element(kernel, first, Place(output, element, case.first_step), values, digests)
                    assert bits == bits_at(made, element)


def run_element(kernel: Kernel, first: int, place: Place, values: list[Tensor], digests: list[bytes]) -> int:
    """All scalar steps of an element, each from whole tensors and again from a witness."""
    trace = Trace(trace_root(digests), len(digests))
    words = first_accumulators(kernel)
    steps = scalar_steps(kernel, place.element)
    for position in range(steps):
        assert len(words) == accumulator_words(kernel)
        after = run_scalar_step(kernel, place, position, words, TensorWords(kernel, values))
        if position < 3 or position > steps - 3:
            witness = write_witness(kernel, place, position, words, values, digests)
            assert execute_leaf(kernel, first, place, position, words, witness, trace) == after
        words = after
    (bits,) = words
    return bits


def bits_at(tensor: Tensor, element: int) -> int:
    size = tensor.type.dtype.size
    return int.from_bytes(tensor.data[element * size : (element + 1) * size], "little")


@pytest.mark.parametrize("program", sample_programs.ALL.values(), ids=sample_programs.ALL.keys())
def test_sample_programs(program: Program) -> None:
    check_case(fill(program, seed=3))


@settings(always, max_examples=30)
@given(case=cases())
def test_random_programs(case: Case) -> None:
    check_case(case)


def test_a_fold_is_cut_as_its_definition_says() -> None:
    fold = Fold((0,), 4, 8, sample_programs.ADD, sample_programs.TOTAL)
    steps = [fold_step(fold, 10, position) for position in range(10 + 2 * 4)]
    updates = [(step.point, step.left) for step in steps if step.work is Work.UPDATE]
    assert updates == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (5, 1), (6, 2), (7, 3), (8, 0), (9, 1)]
    block = [(Work.MERGE_LANES, 0, 2), (Work.MERGE_LANES, 1, 3), (Work.MERGE_LANES, 0, 1)]
    for start, has_total in ((8, 0), (14, 1)):
        closing = [(step.work, step.left, step.right) for step in steps[start : start + 4]]
        assert closing == [*block, (Work.MERGE_BLOCK, 0, has_total)]


def damaged(witness: bytes) -> list[bytes]:
    """Every witness that differs in one byte here and there, or in length."""
    flips = [witness[:at] + bytes([witness[at] ^ 1]) + witness[at + 1 :] for at in range(0, len(witness), 7)]
    return [*flips, witness[:-1], witness + b"\0", b""]


def test_only_the_right_witness_is_believed() -> None:
    """Every bit of a witness counts: none may be changed without being noticed."""
    case = fill(sample_programs.MATMUL, seed=5)
    values = run_step(case.program, case.state, case.constants, 0)
    digests = [tensor_digest(value.type, value.data) for value in values]
    kernel, place = case.program.kernels[0], Place(0, 4, 0)
    trace = Trace(trace_root(digests), len(digests))
    witness = write_witness(kernel, place, 1, [7, 0], values, digests)
    execute_leaf(kernel, 2, place, 1, [7, 0], witness, trace)
    for other in damaged(witness):
        with pytest.raises(IllegalMove):
            execute_leaf(kernel, 2, place, 1, [7, 0], other, trace)
    with pytest.raises(IllegalMove, match="value is not earlier"):
        execute_leaf(kernel, 1, place, 1, [7, 0], witness, trace)
