"""Integer instructions and straight-line code; float instructions are tested through float32."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.spec.instructions import ARITY, SOURCES, Code, Instruction, Op, compute, execute, signed
from tallystick.spec.kernels import MergeEnvironment

WORD = st.integers(0, 0xFFFFFFFF) | st.sampled_from([0, 1, 2, 31, 32, 33, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])


def wrap(number: int) -> int:
    return number % (1 << 32)


@given(WORD, WORD)
def test_integer_arithmetic_wraps(a: int, b: int) -> None:
    x, y = signed(a), signed(b)
    assert compute(Op.IADD, [a, b]) == wrap(x + y)
    assert compute(Op.ISUB, [a, b]) == wrap(x - y)
    assert compute(Op.IMUL, [a, b]) == wrap(x * y)
    assert compute(Op.UMULHI, [a, b]) << 32 | compute(Op.IMUL, [a, b]) == a * b
    assert compute(Op.ILT, [a, b]) == (x < y)
    assert compute(Op.ULT, [a, b]) == (a < b)
    assert compute(Op.IEQ, [a, b]) == (a == b)


@given(WORD, WORD)
def test_division_truncates_and_remainder_completes_it(a: int, b: int) -> None:
    quotient, remainder = compute(Op.IDIV, [a, b]), compute(Op.IREM, [a, b])
    assert wrap(quotient * b + remainder) == a
    if b:
        assert abs(signed(remainder)) < abs(signed(b))
        assert signed(remainder) == 0 or (signed(remainder) < 0) == (signed(a) < 0)


@pytest.mark.parametrize(
    ("op", "a", "b", "want"),
    [
        (Op.IDIV, 7, wrap(-2), wrap(-3)),
        (Op.IREM, 7, wrap(-2), 1),
        (Op.IDIV, wrap(-7), 2, wrap(-3)),
        (Op.IREM, wrap(-7), 2, wrap(-1)),
        (Op.IDIV, 5, 0, 0),
        (Op.IREM, 5, 0, 5),
        (Op.IDIV, 0x80000000, wrap(-1), 0x80000000),
        (Op.IREM, 0x80000000, wrap(-1), 0),
        (Op.SHL, 1, 33, 2),
        (Op.SHL, 0x80000001, 1, 2),
        (Op.LSHR, 0x80000000, 31, 1),
        (Op.LSHR, 5, 32, 5),
        (Op.ASHR, 0x80000000, 31, 0xFFFFFFFF),
        (Op.ASHR, 0x40000000, 30, 1),
        (Op.ASHR, 0x80000000, 63, 0xFFFFFFFF),
        (Op.AND, 0b1100, 0b1010, 0b1000),
        (Op.OR, 0b1100, 0b1010, 0b1110),
        (Op.XOR, 0b1100, 0b1010, 0b0110),
    ],
)
def test_edges(op: Op, a: int, b: int, want: int) -> None:
    assert compute(op, [a, b]) == want


def test_select_reads_the_condition_as_an_integer() -> None:
    assert compute(Op.SELECT, [1, 2, 3]) == 2
    assert compute(Op.SELECT, [0, 2, 3]) == 3
    assert compute(Op.SELECT, [0x80000000, 2, 3]) == 2  # the bits of -0.0 are not zero


@given(st.lists(WORD, min_size=3, max_size=3))
def test_every_operation_is_total_and_yields_a_word(args: list[int]) -> None:
    for op in Op:
        if op not in SOURCES:
            assert 0 <= compute(op, args[: ARITY[op]]) <= 0xFFFFFFFF


def test_code_runs_in_order_and_yields_its_results() -> None:
    instructions = (
        Instruction(Op.ACC, (), 1),
        Instruction(Op.CONST, (), 5),
        Instruction(Op.STEP),
        Instruction(Op.IMUL, (0, 1)),
        Instruction(Op.ISUB, (3, 2)),
    )
    assert execute(Code(instructions, (4, 1, 4)), MergeEnvironment([7, 11], step=3)) == [52, 5, 52]
