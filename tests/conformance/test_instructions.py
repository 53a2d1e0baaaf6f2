"""Every instruction on every pair of special words, and every storage type on every kind of word."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import pytest

from conformance.implementations import Implementation, Specification, assert_same_words
from property.strategies import SMALL_INTEGERS, SPECIAL_WORDS, Case
from sample_programs import i32
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import ARITY, FLOAT_RESULT, SOURCES, Op
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, Tensor, TensorType, is_storable
from tallystick.spec.views import Address, View

RNG = random.Random(5)
WORDS = [*SPECIAL_WORDS, *SMALL_INTEGERS[:7], *(RNG.getrandbits(32) for _ in range(7))]
COUNT = len(WORDS)
UNARY = [op for op in Op if op not in SOURCES and ARITY[op] == 1]
BINARY = [op for op in Op if op not in SOURCES and ARITY[op] == 2]
TERNARY = [op for op in Op if op not in SOURCES and ARITY[op] == 3]
FLOATS = (Op.FADD, Op.FSUB, Op.FMUL, Op.FDIV)


def words_tensor(words: list[int], dtype: DType = DType.I32) -> Tensor:
    """Words as they are, in 32 bits each, or as the low bytes of each."""
    data = b"".join((word & (1 << 8 * dtype.size) - 1).to_bytes(dtype.size, "little") for word in words)
    return Tensor(TensorType(dtype, (len(words),)), data)


def pairs(rows: int, address_a: Address, address_b: Address, *ops: Op) -> Kernel:
    """A map over pairs of words that stores what up to four instructions give, as raw words.

    A third operand is the second one, negated, so that sums cancel.
    """
    builder = CodeBuilder()
    a, b = builder.load(0), builder.load(1)
    results = [builder.emit(op, *(a, b, builder.fneg(b))[: ARITY[op]]) for op in ops]
    body, _ = builder.build(*results, keep=(a, b))
    return Kernel((rows, COUNT), (), (View(0, address_a), View(0, address_b)), body, (DType.I32,) * len(ops))


def group(ops: list[Op]) -> list[tuple[Op, ...]]:
    return [tuple(ops[start : start + 4]) for start in range(0, len(ops), 4)]


@cache
def instructions_case() -> tuple[Case, list[bytes]]:
    """All instructions on all pairs, and along the other operand on some; and what the definition makes of them."""
    row, column = Address(0, (1, 0)), Address(0, (0, 1))
    kernels = [pairs(COUNT, row, column, *ops) for ops in group(UNARY + BINARY + TERNARY)]
    kernels += [pairs(COUNT // 4, column, Address(0, (4, 0)), *ops) for ops in group([*BINARY, *TERNARY])]
    program = Program((i32(COUNT),), (), tuple(kernels), (0,))
    case = Case(program, (words_tensor(WORDS),), (), 0, 1)
    return case, Specification().trace(case)


def test_every_instruction_on_special_words(impl: Implementation) -> None:
    case, want = instructions_case()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


DIVISORS = [0, 1, 2, 3, 5, 7, 10, 64, 641, 0x40000000, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFF9, 0xFFFFFFFE]
DIVISORS += [0xFFFFFFFF]


@cache
def constants_case() -> tuple[Case, list[bytes]]:
    """Division, remainder and shifts by constants, which compilers rewrite; of words and of loop indices."""
    kernels = []
    for divisor in DIVISORS:
        builder = CodeBuilder()
        a, b = builder.load(0), builder.word(divisor)
        index = builder.isub(builder.index(0), builder.word(20))
        results = [builder.emit(op, x, b) for x in (a, index) for op in (Op.IDIV, Op.IREM)]
        shifts = [builder.emit(op, a, b) for op in (Op.SHL, Op.LSHR, Op.ASHR)] + [builder.umulhi(a, b)]
        for yielded in (results, shifts):
            body, _ = builder.build(*yielded, keep=(a,))
            kernels.append(Kernel((COUNT,), (), (View(0, Address(0, (1,))),), body, (DType.I32,) * 4))
    case = Case(Program((i32(COUNT),), (), tuple(kernels), (0,)), (words_tensor(WORDS),), (), 0, 1)
    return case, Specification().trace(case)


def test_constant_operands(impl: Implementation) -> None:
    case, want = constants_case()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


@cache
def chains_case() -> tuple[Case, list[bytes]]:
    """Float results read as integers, chosen, and read as floats again: where a NaN's bits could be seen."""
    kernels = []
    for first in FLOATS:
        builder = CodeBuilder()
        a, b = builder.load(0), builder.load(1)
        x = builder.emit(first, a, b)
        chosen = builder.select(builder.flt(a, b), x, builder.fneg(x))
        seen = builder.xor(x, builder.word(0x12345678))
        again = builder.ffma(chosen, b, seen)
        body, _ = builder.build(seen, chosen, again, builder.fsqrt(builder.fneg(x)), keep=(a, b))
        views = (View(0, Address(0, (1, 0))), View(0, Address(0, (0, 1))))
        kernels.append(Kernel((COUNT, COUNT), (), views, body, (DType.I32, DType.I32, DType.F32, DType.I32)))
    program = Program((i32(COUNT),), (), tuple(kernels), (0,))
    case = Case(program, (words_tensor(WORDS),), (), 0, 1)
    return case, Specification().trace(case)


def test_bits_of_results_seen_by_other_instructions(impl: Implementation) -> None:
    case, want = chains_case()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


@cache
def stored_case() -> tuple[Case, list[bytes]]:
    """Every float result stored as every float: whichever NaN the hardware makes, the one NaN is stored."""
    kernels = []
    for op in (op for op in Op if op in FLOAT_RESULT):
        for dtype in (DType.F32, DType.BF16, DType.F16):
            row, column = Address(0, (1, 0)), Address(0, (0, 1))
            kernels.append(replace(pairs(COUNT, column, row, op), outputs=(dtype,)))
    case = Case(Program((i32(COUNT),), (), tuple(kernels), (0,)), (words_tensor(WORDS),), (), 0, 1)
    return case, Specification().trace(case)


def test_float_results_stored_as_floats(impl: Implementation) -> None:
    case, want = stored_case()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


@cache
def narrowing_case(dtype: DType) -> tuple[Case, list[bytes]]:
    """Words stored as a type: the special ones, and for the narrow floats every midpoint with its neighbours."""
    words = [*WORDS, *(RNG.getrandbits(32) for _ in range(200))]
    if dtype.size == 2:
        words += [(half << 16 | low) & 0xFFFFFFFF for half in range(0, 1 << 16, 37) for low in (0x7FFF, 0x8000, 0x8001)]
        words += [0x38000000 + (half << 12) + low for half in range(0, 1 << 15, 61) for low in (-1, 0, 1)]
        words += [0x33000000 + (half << 9) + low for half in range(0, 1 << 14, 59) for low in (-1, 0, 1)]
    builder = CodeBuilder()
    x = builder.load(0)
    body, _ = builder.build(x, builder.fadd(x, builder.word(0x80000000)))  # as it is, and as a float result
    kernel = Kernel((len(words),), (), (View(0, Address(0, (1,))),), body, (dtype, dtype))
    case = Case(Program((i32(len(words)),), (), (kernel,), (0,)), (words_tensor(words),), (), 0, 1)
    return case, Specification().trace(case)


@pytest.mark.parametrize("dtype", DType, ids=lambda dtype: dtype.name)
def test_narrowing(impl: Implementation, dtype: DType) -> None:
    case, want = narrowing_case(dtype)
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


@cache
def widening_case(dtype: DType) -> tuple[Case, list[bytes]]:
    """Every element that a narrow type may hold, as a raw word and through a float instruction."""
    words = [word for word in (WORDS if dtype.size == 4 else range(1 << 8 * dtype.size)) if is_storable(dtype, word)]
    builder = CodeBuilder()
    x = builder.load(0)
    body, _ = builder.build(x, builder.fmul(x, builder.word(0x3F800000)))
    kernel = Kernel((len(words),), (), (View(0, Address(0, (1,))),), body, (DType.I32, DType.I32))
    state = words_tensor(words, dtype)
    case = Case(Program((state.type,), (), (kernel,), (0,)), (state,), (), 0, 1)
    return case, Specification().trace(case)


@pytest.mark.parametrize("dtype", DType, ids=lambda dtype: dtype.name)
def test_widening(impl: Implementation, dtype: DType) -> None:
    case, want = widening_case(dtype)
    assert_same_words(case, case.program.value_types, impl.trace(case), want)
