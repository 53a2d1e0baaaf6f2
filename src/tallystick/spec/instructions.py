"""Scalar instructions on 32-bit words, and straight-line code made of them.

Every operation is total: no trap, no undefined value. Binary32 results that are NaN are the one canonical NaN
``0x7fc00000``. Integers are two's complement and wrap.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from tallystick.spec import float32

MASK = 0xFFFFFFFF
SIGN = 0x80000000


class Op(IntEnum):
    """Operation codes. The numbers are part of the canonical encoding."""

    # sources: what they yield does not come from a register
    CONST = 0x00  # immediate word
    INDEX = 0x01  # loop index of an axis (output axes first, then reduce axes)
    LOAD = 0x02  # word read through a view
    ACC = 0x03  # accumulator
    STEP = 0x04  # the step number the program is run for

    # binary32, round to nearest even, subnormals kept
    FADD = 0x10
    FSUB = 0x11
    FMUL = 0x12
    FDIV = 0x13
    FSQRT = 0x14
    FFMA = 0x15  # a * b + c, rounded once
    FLT = 0x16  # 1 if a < b else 0; 0 on NaN
    FLE = 0x17
    FEQ = 0x18
    FRINT = 0x19  # to the nearest integral value, ties to even
    F2I = 0x1A  # truncate to int32, saturating; NaN gives 0
    I2F = 0x1B  # int32 to binary32, nearest even

    # integers
    IADD = 0x20
    ISUB = 0x21
    IMUL = 0x22
    UMULHI = 0x23  # high word of the unsigned product
    IDIV = 0x24  # signed, truncating; x / 0 = 0; INT_MIN / -1 = INT_MIN
    IREM = 0x25  # signed, sign of the dividend; x % 0 = x; INT_MIN % -1 = 0
    AND = 0x26
    OR = 0x27
    XOR = 0x28
    SHL = 0x29  # shift amounts are taken modulo 32
    LSHR = 0x2A
    ASHR = 0x2B
    ILT = 0x2C  # signed
    ULT = 0x2D  # unsigned
    IEQ = 0x2E

    # choice
    SELECT = 0x30  # a where c != 0, else b; operands in the order c, a, b


SOURCES = frozenset({Op.CONST, Op.INDEX, Op.LOAD, Op.ACC, Op.STEP})
FLOAT_RESULT = frozenset({Op.FADD, Op.FSUB, Op.FMUL, Op.FDIV, Op.FSQRT, Op.FFMA, Op.FRINT, Op.I2F})
FLOAT_OPERANDS = frozenset(
    {Op.FADD, Op.FSUB, Op.FMUL, Op.FDIV, Op.FSQRT, Op.FFMA, Op.FLT, Op.FLE, Op.FEQ, Op.FRINT, Op.F2I}
)

ARITY: dict[Op, int] = dict.fromkeys(Op, 2)
ARITY.update(dict.fromkeys(SOURCES, 0))
ARITY.update({Op.FSQRT: 1, Op.FRINT: 1, Op.F2I: 1, Op.I2F: 1, Op.FFMA: 3, Op.SELECT: 3})


@dataclass(frozen=True, slots=True)
class Instruction:
    """One operation; its result is the register numbered by its place in the code.

    ``args`` are registers of earlier instructions. ``imm`` is the immediate of a source: the word of CONST, the axis
    of INDEX, the load slot of LOAD, the accumulator of ACC; 0 everywhere else.
    """

    op: Op
    args: tuple[int, ...] = ()
    imm: int = 0


@dataclass(frozen=True, slots=True)
class Code:
    """Straight-line code: instructions in order and the registers that hold its results."""

    instructions: tuple[Instruction, ...]
    results: tuple[int, ...]


class Environment(Protocol):
    """What the source instructions of one execution of a code see."""

    step: int

    def index(self, axis: int) -> int: ...
    def load(self, slot: int, registers: list[int]) -> int: ...
    def accumulator(self, number: int) -> int: ...


def execute(code: Code, env: Environment) -> list[int]:
    """Run straight-line code once and return its result words."""
    registers = run_registers(code, env)
    return [registers[r] for r in code.results]


def run_registers(code: Code, env: Environment) -> list[int]:
    """Run straight-line code once and return every register, in order."""
    registers: list[int] = []
    for instruction in code.instructions:
        match instruction.op:
            case Op.CONST:
                word = instruction.imm
            case Op.INDEX:
                word = env.index(instruction.imm) & MASK
            case Op.LOAD:
                word = env.load(instruction.imm, registers)
            case Op.ACC:
                word = env.accumulator(instruction.imm)
            case Op.STEP:
                word = env.step & MASK
            case op:
                word = compute(op, [registers[r] for r in instruction.args])
        registers.append(word)
    return registers


def signed(word: int) -> int:
    """The two's complement reading of a word."""
    return word - (1 << 32) if word & SIGN else word


def compute(op: Op, args: list[int]) -> int:
    """The result word of one arithmetic instruction on operand words."""
    match op, args:
        case Op.FADD, [a, b]:
            return float32.add(a, b)
        case Op.FSUB, [a, b]:
            return float32.sub(a, b)
        case Op.FMUL, [a, b]:
            return float32.mul(a, b)
        case Op.FDIV, [a, b]:
            return float32.div(a, b)
        case Op.FSQRT, [a]:
            return float32.sqrt(a)
        case Op.FFMA, [a, b, c]:
            return float32.fma(a, b, c)
        case Op.FLT, [a, b]:
            return float32.less(a, b)
        case Op.FLE, [a, b]:
            return float32.less_equal(a, b)
        case Op.FEQ, [a, b]:
            return float32.equal(a, b)
        case Op.FRINT, [a]:
            return float32.rint(a)
        case Op.F2I, [a]:
            return float32.to_int(a)
        case Op.I2F, [a]:
            return float32.from_int(a)
        case Op.IADD, [a, b]:
            return (a + b) & MASK
        case Op.ISUB, [a, b]:
            return (a - b) & MASK
        case Op.IMUL, [a, b]:
            return (a * b) & MASK
        case Op.UMULHI, [a, b]:
            return (a * b) >> 32
        case Op.IDIV, [a, b]:
            return truncating_division(signed(a), signed(b))[0] & MASK
        case Op.IREM, [a, b]:
            return truncating_division(signed(a), signed(b))[1] & MASK
        case Op.AND, [a, b]:
            return a & b
        case Op.OR, [a, b]:
            return a | b
        case Op.XOR, [a, b]:
            return a ^ b
        case Op.SHL, [a, b]:
            return (a << (b & 31)) & MASK
        case Op.LSHR, [a, b]:
            return a >> (b & 31)
        case Op.ASHR, [a, b]:
            return (signed(a) >> (b & 31)) & MASK
        case Op.ILT, [a, b]:
            return int(signed(a) < signed(b))
        case Op.ULT, [a, b]:
            return int(a < b)
        case Op.IEQ, [a, b]:
            return int(a == b)
        case Op.SELECT, [c, a, b]:
            return a if c else b
        case _:
            raise AssertionError(f"{op.name} does not compute from {len(args)} operands")


def truncating_division(dividend: int, divisor: int) -> tuple[int, int]:
    """Quotient rounded towards zero and remainder; by zero, the quotient is 0 and the remainder the dividend."""
    if divisor == 0:
        return 0, dividend
    quotient = abs(dividend) // abs(divisor)
    if (dividend < 0) != (divisor < 0):
        quotient = -quotient
    return quotient, dividend - quotient * divisor
