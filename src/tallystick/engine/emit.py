"""Straight-line code as LLVM IR: one vector instruction per instruction, for as many lanes as the sources have.

Lanes follow the operands: code whose sources are all scalars comes out scalar; a scalar meeting a vector is broadcast.
So what does not vary along the vectorised axis is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from llvmlite import ir

from tallystick.engine import arithmetic
from tallystick.engine.target import Target
from tallystick.engine.words import (
    CANONICAL_NAN,
    F32,
    I1,
    I32,
    NEVER,
    SIGN,
    Converter,
    LaneNumbers,
    Word,
    common_nan,
    constant_word,
    element_of,
    float_result,
    lanes_of,
    splat_constant,
    vector,
)
from tallystick.spec.instructions import FLOAT_OPERANDS, Code, Instruction, Op


class Sources(Protocol):
    """What the source instructions of a code yield, as words of one lane or of the vector's."""

    def index(self, axis: int) -> Word: ...
    def load(self, slot: int, registers: Sequence[Word | None]) -> Word: ...
    def accumulator(self, number: int) -> Word: ...
    def step(self) -> Word: ...


class Emitter(Converter):
    """Appends code to where the builder stands."""

    def __init__(self, builder: ir.IRBuilder, target: Target) -> None:
        super().__init__(builder)
        self.target = target

    def run(self, code: Code, sources: Sources) -> list[Word]:
        """The result words of a code."""
        registers = self.registers(code, sources)
        results = [registers[r] for r in code.results]
        return [word for word in results if word is not None]

    def registers(
        self,
        code: Code,
        sources: Sources,
        known: Sequence[Word | None] | None = None,
        only: Collection[int] | None = None,
    ) -> list[Word | None]:
        """Every register of a code.

        ``known`` are registers emitted earlier (None: not yet); ``only`` are those to emit now, whose operands must be
        among them or known. What is neither stays None.
        """
        registers: list[Word | None] = []
        for number, instruction in enumerate(code.instructions):
            if known is not None and known[number] is not None:
                registers.append(known[number])
            elif only is not None and number not in only:
                registers.append(None)
            else:
                registers.append(self._one(instruction, registers, sources))
        return registers

    def _one(self, instruction: Instruction, registers: Sequence[Word | None], sources: Sources) -> Word:
        match instruction.op:
            case Op.CONST:
                return constant_word(instruction.imm)
            case Op.INDEX:
                return sources.index(instruction.imm)
            case Op.LOAD:
                return sources.load(instruction.imm, registers)
            case Op.ACC:
                return sources.accumulator(instruction.imm)
            case Op.STEP:
                return sources.step()
            case op:
                operands = [registers[r] for r in instruction.args]
                return self.compute(op, [word for word in operands if word is not None])

    def compute(self, op: Op, operands: list[Word]) -> Word:
        """The word of one arithmetic instruction."""
        lanes = max(lanes_of(word.value) for word in operands)
        operands = [self.widen(word, lanes) for word in operands]
        if op == Op.SELECT:
            return self.select(*operands)
        if op in FLOAT_OPERANDS:
            return self._float(op, [self.as_float(word) for word in operands])
        if op == Op.I2F:
            return Word(self.builder.sitofp(self.as_int(operands[0]), vector(F32, lanes)), nan=NEVER)
        if op in (Op.AND, Op.OR, Op.XOR):
            return self._bitwise(op, operands)
        return self._integer(op, operands)

    # BINARY32
    def _float(self, op: Op, args: list[ir.Value]) -> Word:
        builder = self.builder
        match op, args:
            case Op.FADD, [a, b]:
                return float_result(builder.fadd(a, b))
            case Op.FSUB, [a, b]:
                return float_result(builder.fsub(a, b))
            case Op.FMUL, [a, b]:
                return float_result(builder.fmul(a, b))
            case Op.FDIV, [a, b]:
                return float_result(builder.fdiv(a, b))
            case Op.FSQRT, [a]:
                return float_result(arithmetic.square_root(builder, a))
            case Op.FFMA, [a, b, c]:
                return float_result(arithmetic.fused_multiply_add(builder, self.target, a, b, c))
            case Op.FRINT, [a]:
                return float_result(arithmetic.round_to_integral(builder, self.target, a))
            case Op.F2I, [a]:
                return Word(arithmetic.float_to_int(builder, a))
            case ((Op.FLT | Op.FLE | Op.FEQ), [a, b]):
                relation = {Op.FLT: "olt", Op.FLE: "ole", Op.FEQ: "oeq"}[op]
                return Word(builder.fcmp_ordered(relation, a, b), nan=NEVER)
            case _:
                raise AssertionError(f"{op.name} reads no floats")

    # INTEGERS
    def _integer(self, op: Op, operands: list[Word]) -> Word:
        builder = self.builder
        a, b = (self.as_int(word) for word in operands)
        match op:
            case Op.IADD:
                return Word(builder.add(a, b))
            case Op.ISUB:
                return Word(builder.sub(a, b))
            case Op.IMUL:
                return Word(builder.mul(a, b))
            case Op.UMULHI:
                return Word(arithmetic.multiply_high(builder, a, b))
            case Op.IDIV:
                return Word(arithmetic.divide(builder, a, b, operands[1].constant))
            case Op.IREM:
                return Word(arithmetic.remainder(builder, a, b, operands[1].constant))
            case Op.SHL:
                return Word(builder.shl(a, arithmetic.shift_amount(builder, b)))
            case Op.LSHR:
                return Word(builder.lshr(a, arithmetic.shift_amount(builder, b)))
            case Op.ASHR:
                return Word(builder.ashr(a, arithmetic.shift_amount(builder, b)))
            case Op.ILT:
                return Word(builder.icmp_signed("<", a, b), nan=NEVER)
            case Op.ULT:
                return Word(builder.icmp_unsigned("<", a, b), nan=NEVER)
            case Op.IEQ:
                return Word(builder.icmp_unsigned("==", a, b), nan=NEVER)
            case _:
                raise AssertionError(f"{op.name} is no integer instruction")

    def _bitwise(self, op: Op, operands: list[Word]) -> Word:
        builder = self.builder
        combine: Callable[[ir.Value, ir.Value], ir.Value] = {
            Op.AND: builder.and_, Op.OR: builder.or_, Op.XOR: builder.xor,
        }[op]  # fmt: skip
        left, right = operands
        if element_of(left.value) == I1 and element_of(right.value) == I1:
            return Word(combine(left.value, right.value), nan=NEVER)
        if left.constant is not None:
            left, right = right, left
        sign = self._sign_change(op, left, right.constant)
        if sign is not None:
            return sign
        return Word(combine(self.as_int(left), self.as_int(right)))

    def _sign_change(self, op: Op, word: Word, constant: int | None) -> Word | None:
        """Negation and absolute value of a float: they keep a NaN a NaN, so nothing need be made canonical yet."""
        if element_of(word.value) != F32:
            return None
        if op == Op.XOR and constant == SIGN:
            nan = word.nan if word.nan in (None, NEVER) else word.nan ^ SIGN
            return Word(self.builder.fneg(word.value), word.exact, nan)
        if op == Op.AND and constant == SIGN - 1:
            nan = word.nan if word.nan in (None, NEVER) else word.nan & (SIGN - 1)
            return Word(arithmetic.overloaded(self.builder, "llvm.fabs", word.value), word.exact, nan)
        return None

    # CHOICE
    def select(self, condition: Word, a: Word, b: Word) -> Word:
        """a where the condition is not 0, else b; all of the same number of lanes."""
        nan = common_nan(a.nan, b.nan)
        if not (a.exact and b.exact) and nan in (None, NEVER):
            a, b = self.exactly(a), self.exactly(b)
        kinds = {element_of(a.value), element_of(b.value)}
        if kinds == {I1}:
            choose = self.builder.select(self.as_mask(condition), a.value, b.value)
            return Word(choose, nan=NEVER)
        exact = a.exact and b.exact
        read = self.as_float if F32 in kinds else self.as_int
        return Word(self.builder.select(self.as_mask(condition), read(a), read(b)), exact, nan)


def integer_word(value: ir.Value) -> Word:
    """A word that is an i32 whose bits mean what they say (an index, the step number)."""
    return Word(value)


def float_accumulator(value: ir.Value) -> Word:
    """An accumulator that is carried as a float: if it is NaN, the specification's is the canonical one."""
    return Word(value, exact=False, nan=CANONICAL_NAN)


def iota(lanes: int, type: ir.IntType = I32) -> ir.Constant:
    """0, 1, 2, ... in the lanes."""
    return splat_constant(type, 0) if lanes == 1 else LaneNumbers(range(lanes), type)
