"""Writing straight-line code: one method per instruction, equal instructions share a register."""

from __future__ import annotations

import struct

from tallystick.spec.instructions import ARITY, Code, Instruction, Op

Register = int


def float_word(value: float) -> int:
    """The binary32 pattern nearest to a Python float."""
    try:
        return struct.unpack("<I", struct.pack("<f", value))[0]
    except OverflowError:
        return 0x7F800000 if value > 0 else 0xFF800000


class CodeBuilder:
    """Collects instructions and hands out the registers of their results.

    An instruction that was already written is not written again: its register is returned. ``build`` drops what no
    result needs and numbers the rest in order.
    """

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._known: dict[Instruction, Register] = {}

    def emit(self, op: Op, *args: Register, imm: int = 0) -> Register:
        """Append one instruction, or find the equal one already there."""
        assert len(args) == ARITY[op], f"{op.name} takes {ARITY[op]} operands, not {len(args)}"
        assert all(0 <= arg < len(self.instructions) for arg in args), "operands are registers of earlier instructions"
        instruction = Instruction(op, args, imm)
        if instruction not in self._known:
            self._known[instruction] = len(self.instructions)
            self.instructions.append(instruction)
        return self._known[instruction]

    # SOURCES
    def word(self, word: int) -> Register:
        """A constant word; negative integers are taken as two's complement."""
        return self.emit(Op.CONST, imm=word & 0xFFFFFFFF)

    def float(self, value: float) -> Register:
        """A binary32 constant, the nearest to a Python float."""
        return self.word(float_word(value))

    def index(self, axis: int) -> Register:
        return self.emit(Op.INDEX, imm=axis)

    def load(self, slot: int) -> Register:
        return self.emit(Op.LOAD, imm=slot)

    def acc(self, number: int = 0) -> Register:
        return self.emit(Op.ACC, imm=number)

    def step(self) -> Register:
        return self.emit(Op.STEP)

    # BINARY32
    def fadd(self, a: Register, b: Register) -> Register:
        return self.emit(Op.FADD, a, b)

    def fsub(self, a: Register, b: Register) -> Register:
        return self.emit(Op.FSUB, a, b)

    def fmul(self, a: Register, b: Register) -> Register:
        return self.emit(Op.FMUL, a, b)

    def fdiv(self, a: Register, b: Register) -> Register:
        return self.emit(Op.FDIV, a, b)

    def fsqrt(self, a: Register) -> Register:
        return self.emit(Op.FSQRT, a)

    def ffma(self, a: Register, b: Register, c: Register) -> Register:
        """a * b + c, rounded once."""
        return self.emit(Op.FFMA, a, b, c)

    def flt(self, a: Register, b: Register) -> Register:
        return self.emit(Op.FLT, a, b)

    def fle(self, a: Register, b: Register) -> Register:
        return self.emit(Op.FLE, a, b)

    def feq(self, a: Register, b: Register) -> Register:
        return self.emit(Op.FEQ, a, b)

    def frint(self, a: Register) -> Register:
        return self.emit(Op.FRINT, a)

    def f2i(self, a: Register) -> Register:
        return self.emit(Op.F2I, a)

    def i2f(self, a: Register) -> Register:
        return self.emit(Op.I2F, a)

    # INTEGERS
    def iadd(self, a: Register, b: Register) -> Register:
        return self.emit(Op.IADD, a, b)

    def isub(self, a: Register, b: Register) -> Register:
        return self.emit(Op.ISUB, a, b)

    def imul(self, a: Register, b: Register) -> Register:
        return self.emit(Op.IMUL, a, b)

    def umulhi(self, a: Register, b: Register) -> Register:
        return self.emit(Op.UMULHI, a, b)

    def idiv(self, a: Register, b: Register) -> Register:
        return self.emit(Op.IDIV, a, b)

    def irem(self, a: Register, b: Register) -> Register:
        return self.emit(Op.IREM, a, b)

    def and_(self, a: Register, b: Register) -> Register:
        return self.emit(Op.AND, a, b)

    def or_(self, a: Register, b: Register) -> Register:
        return self.emit(Op.OR, a, b)

    def xor(self, a: Register, b: Register) -> Register:
        return self.emit(Op.XOR, a, b)

    def shl(self, a: Register, b: Register) -> Register:
        return self.emit(Op.SHL, a, b)

    def lshr(self, a: Register, b: Register) -> Register:
        return self.emit(Op.LSHR, a, b)

    def ashr(self, a: Register, b: Register) -> Register:
        return self.emit(Op.ASHR, a, b)

    def ilt(self, a: Register, b: Register) -> Register:
        return self.emit(Op.ILT, a, b)

    def ult(self, a: Register, b: Register) -> Register:
        return self.emit(Op.ULT, a, b)

    def ieq(self, a: Register, b: Register) -> Register:
        return self.emit(Op.IEQ, a, b)

    # CHOICE
    def select(self, condition: Register, a: Register, b: Register) -> Register:
        """a where the condition is not 0, else b."""
        return self.emit(Op.SELECT, condition, a, b)

    # WRITTEN WITH THE ABOVE
    def fneg(self, a: Register) -> Register:
        return self.xor(a, self.word(0x80000000))

    def fabs(self, a: Register) -> Register:
        return self.and_(a, self.word(0x7FFFFFFF))

    def build(self, *results: Register, keep: tuple[Register, ...] = ()) -> tuple[Code, dict[Register, Register]]:
        """The code that computes the results (and the registers to keep), and where each needed register went."""
        needed = set(results) | set(keep)
        for register in range(len(self.instructions) - 1, -1, -1):
            if register in needed:
                needed.update(self.instructions[register].args)
        place = {old: new for new, old in enumerate(sorted(needed))}
        instructions = tuple(
            Instruction(i.op, tuple(place[arg] for arg in i.args), i.imm)
            for i in (self.instructions[register] for register in sorted(needed))
        )
        return Code(instructions, tuple(place[result] for result in results)), place
