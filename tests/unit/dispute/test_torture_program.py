"""The program that disputes are tried on is a valid one, and does everything it is there for."""

from __future__ import annotations

from math import prod

import numpy as np

from disputes.stage import SpecComputation
from tallystick.commitment import check_array
from tallystick.ir.verifier import verify
from tallystick.job.computation import EngineComputation
from tallystick.spec.tensors import DType
from torture_program import FIRST_STEP, torture

EXPONENT, SIGN = np.uint32(0x7F800000), np.uint32(0x80000000)


def test_it_is_valid_and_its_data_are_what_the_slots_hold() -> None:
    made = torture()
    verify(made.program)
    types = (*made.program.states, *made.program.constants)
    for type, array in zip(types, (*made.state, *made.constants), strict=True):
        check_array(type, array, "it")


def test_engine_and_definition_agree() -> None:
    made = torture()
    spec = SpecComputation(made.program, made.constants)
    engine = EngineComputation(made.program, made.constants, 1)
    after = [computation.advance(made.state, FIRST_STEP, 2, lambda steps: None) for computation in (spec, engine)]
    for one, other in zip(*after, strict=True):
        assert one.tobytes() == other.tobytes()
    traces = [computation.trace(after[0], FIRST_STEP + 2) for computation in (spec, engine)]
    names = {number: name for name, number in made.values.items()}
    for number, (one, other) in enumerate(zip(*traces, strict=True)):
        assert one.tobytes() == other.tobytes(), names.get(number, number)


def test_folds_have_all_lanes_several_blocks_and_a_short_last_one() -> None:
    folds = [
        (kernel.fold, prod(kernel.reduce_shape)) for kernel in torture().program.kernels if kernel.fold is not None
    ]
    plain = [(fold, points) for fold, points in folds if not fold.scan]
    assert {fold.lanes for fold, _ in plain} == {1, 2, 4, 8, 16}
    assert {len(fold.init) for fold, _ in plain} == {1, 2, 3, 4}
    assert all(points > fold.block and points % fold.block for fold, points in plain)
    assert any(fold.scan for fold, _ in folds)


def test_all_storage_types_are_read_and_written() -> None:
    made = torture()
    types = made.program.value_types
    assert {types[view.value].dtype for kernel in made.program.kernels for view in kernel.loads} == set(DType)
    assert {dtype for kernel in made.program.kernels for dtype in kernel.outputs} == set(DType)


def test_every_value_is_kept_and_two_slots_trade_places() -> None:
    program = torture().program
    inputs = len(program.states) + len(program.constants)
    assert set(range(inputs, len(program.value_types))) <= set(program.next_state)
    assert program.next_state[2:4] == (3, 2)


def test_there_are_subnormals_nans_and_infinities() -> None:
    made = torture()
    bits = made.state[made.state_names.index("special")].view(np.uint32)
    magnitude = bits & ~SIGN
    assert (magnitude > EXPONENT).any() and (magnitude == EXPONENT).any()
    assert ((bits & EXPONENT == 0) & (magnitude != 0)).any()


def test_every_step_changes_the_weight() -> None:
    """Or else no two steps could be told apart."""
    made = torture()
    engine = EngineComputation(made.program, made.constants, 1)
    state, seen = made.state, set()
    for step in range(12):
        state = engine.advance(state, FIRST_STEP + step, 1, lambda steps: None)
        assert np.isfinite(state[0]).all()
        seen.add(state[0].tobytes())
    assert len(seen) == 12
