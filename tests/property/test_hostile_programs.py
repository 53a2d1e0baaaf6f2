"""Hostile programs, as bytes and as objects: a named error or a program that keeps every promise, and quickly."""

from __future__ import annotations

import contextlib
import random
import tracemalloc
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.fuzz_decoder import check, mutate_and_check
from property.hostile import damage, damage_bytes
from property.strategies import Case, cases, fill, programs
from tallystick.errors import DecodingError, ProgramError
from tallystick.ir.accounting import program_work
from tallystick.ir.printer import format_program
from tallystick.ir.verifier import verify
from tallystick.spec import kernels
from tallystick.spec.encoding import decode_program, encode_program
from tallystick.spec.programs import Program, run, run_step
from tallystick.spec.views import Address, affine, locate

quick = settings(deadline=timedelta(seconds=10), max_examples=60)


@quick
@given(cases())
def test_drawn_programs_are_valid_and_come_back(case: Case) -> None:
    verify(case.program)
    assert decode_program(encode_program(case.program)) == case.program
    assert format_program(case.program).count("\nkernel ") == len(case.program.kernels)
    assert program_work(case.program) >= 0


@quick
@given(programs(), st.integers(0, 1 << 32))
def test_damaged_bytes_are_refused_or_are_another_program(program: Program, seed: int) -> None:
    data = encode_program(program)
    damaged = damage_bytes(data, random.Random(seed))
    if damaged != data:
        check(damaged)
        with contextlib.suppress(DecodingError):
            assert decode_program(damaged) != program


@settings(deadline=timedelta(seconds=10))
@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: b"TALY\x02\x00" + data))
def test_garbage_is_refused_or_is_a_program(data: bytes) -> None:
    check(data)


def locate_watched(address: Address, indices: tuple[int, ...], registers: list[int], elements: int) -> int | None:
    """What an engine relies on: an open affine address is inside."""
    at = locate(address, indices, registers, elements)
    if at is None and not address.computed:
        opened = all(0 <= affine(guard.base, guard.strides, indices) < guard.limit for guard in address.guards)
        assert not opened, f"{address} leaves {elements} elements at {indices}"
    return at


@quick
@given(programs(), st.integers(0, 1 << 32))
def test_damaged_programs_are_refused_or_run(program: Program, seed: int) -> None:
    """A verdict of valid is a promise: the program encodes, and runs without leaving any tensor."""
    damaged = damage(program, random.Random(seed))
    try:
        verify(damaged)
    except ProgramError:
        return
    assert decode_program(encode_program(damaged)) == damaged
    points = sum(type.elements for type in damaged.value_types) + program_work(damaged)
    if points < 50_000:
        case = fill(damaged, seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernels, "locate", locate_watched)
            run_step(case.program, case.state, case.constants, 0)


@settings(deadline=timedelta(seconds=10), max_examples=60)
@given(cases())
def test_valid_programs_stay_inside_their_tensors(case: Case) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "locate", locate_watched)
        state = run(case.program, case.state, case.constants, case.first_step, case.steps)
    assert tuple(tensor.type for tensor in state) == case.program.states


def test_mutants_of_the_samples() -> None:
    outcomes = mutate_and_check(runs=3000, seed=1)
    assert min(outcomes[outcome] for outcome in ("not a program", "invalid", "valid")) > 100


@pytest.mark.slow
def test_many_mutants_of_the_samples() -> None:
    mutate_and_check(runs=200_000, seed=2)


@pytest.mark.parametrize("counts", [b"\xff\xff\x0f\x00" * 3, b"\x00\x00\x00\x00" * 2 + b"\xff\xff\x0f\x00"])
def test_counts_are_not_believed(counts: bytes) -> None:
    """A short file that promises a million things costs no memory."""
    data = b"TALY\x02\x00" + counts + bytes(100)
    tracemalloc.start()
    try:
        with pytest.raises(DecodingError, match="are left"):
            decode_program(data)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
