# pragma version ~=0.4.3
"""
@title Scalar instructions on 32-bit words
@license Apache-2.0
@notice
    A mirror of `compute` in `tallystick/spec/instructions.py`. Every operation is total. Integers are two's complement
    and wrap. Operands must be below 2**32; so are results.
"""

import float32

MASK: constant(uint256) = 2**32 - 1
SIGN: constant(uint256) = 2**31

# sources: what they yield does not come from a register
CONST: constant(uint256) = 0
INDEX: constant(uint256) = 1
LOAD: constant(uint256) = 2
ACC: constant(uint256) = 3
STEP: constant(uint256) = 4

# binary32
FADD: constant(uint256) = 16
FSUB: constant(uint256) = 17
FMUL: constant(uint256) = 18
FDIV: constant(uint256) = 19
FSQRT: constant(uint256) = 20
FFMA: constant(uint256) = 21
FLT: constant(uint256) = 22
FLE: constant(uint256) = 23
FEQ: constant(uint256) = 24
FRINT: constant(uint256) = 25
F2I: constant(uint256) = 26
I2F: constant(uint256) = 27

# integers
IADD: constant(uint256) = 32
ISUB: constant(uint256) = 33
IMUL: constant(uint256) = 34
UMULHI: constant(uint256) = 35
IDIV: constant(uint256) = 36
IREM: constant(uint256) = 37
AND_: constant(uint256) = 38  # the underlined names are reserved
OR_: constant(uint256) = 39
XOR: constant(uint256) = 40
SHL: constant(uint256) = 41
LSHR: constant(uint256) = 42
ASHR: constant(uint256) = 43
ILT: constant(uint256) = 44
ULT: constant(uint256) = 45
IEQ: constant(uint256) = 46

# choice
SELECT: constant(uint256) = 48


@internal
@pure
def compute(op: uint256, a: uint256, b: uint256, c: uint256) -> uint256:
    """
    @notice The result word of one arithmetic instruction on operand words; operands it does not have are ignored.
    """
    if op < IADD:
        return self._compute_float(op, a, b, c)
    return self._compute_integer(op, a, b, c)


@internal
@pure
def _compute_float(op: uint256, a: uint256, b: uint256, c: uint256) -> uint256:
    if op == FFMA:
        return float32.fma(a, b, c)
    if op == FADD:
        return float32.add(a, b)
    if op == FSUB:
        return float32.sub(a, b)
    if op == FMUL:
        return float32.mul(a, b)
    if op == FDIV:
        return float32.div(a, b)
    if op == FSQRT:
        return float32.sqrt(a)
    if op == FLT:
        return float32.less(a, b)
    if op == FLE:
        return float32.less_equal(a, b)
    if op == FEQ:
        return float32.equal(a, b)
    if op == FRINT:
        return float32.rint(a)
    if op == F2I:
        return float32.to_int(a)
    if op == I2F:
        return float32.from_int(a)
    raise "no instruction"


@internal
@pure
def _compute_integer(op: uint256, a: uint256, b: uint256, c: uint256) -> uint256:
    if op == SELECT:
        return b if a != 0 else c
    if op == IADD:
        return unsafe_add(a, b) & MASK
    if op == ISUB:
        return unsafe_sub(a, b) & MASK
    if op == IMUL:
        return unsafe_mul(a, b) & MASK
    if op == UMULHI:
        return unsafe_mul(a, b) >> 32
    if op == IDIV:
        return self.quotient(self.signed(a), self.signed(b))
    if op == IREM:
        return self.remainder(self.signed(a), self.signed(b))
    if op == AND_:
        return a & b
    if op == OR_:
        return a | b
    if op == XOR:
        return a ^ b
    if op == SHL:
        return (a << (b & 31)) & MASK
    if op == LSHR:
        return a >> (b & 31)
    if op == ASHR:
        return self._word(self.signed(a) >> (b & 31))
    if op == ILT:
        return 1 if self.signed(a) < self.signed(b) else 0
    if op == ULT:
        return 1 if a < b else 0
    if op == IEQ:
        return 1 if a == b else 0
    raise "no instruction"


@internal
@pure
def signed(word: uint256) -> int256:
    """
    @notice The two's complement reading of a word.
    """
    number: int256 = convert(word, int256)
    return unsafe_sub(number, 2**32) if word & SIGN != 0 else number


@internal
@pure
def _word(number: int256) -> uint256:
    """
    @notice The word whose two's complement reading is a number, or the low bits of it.
    """
    return convert(convert(number, bytes32), uint256) & MASK


@internal
@pure
def quotient(dividend: int256, divisor: int256) -> uint256:
    """
    @notice The word of the quotient rounded towards zero; of 0 by zero.
    """
    return 0 if divisor == 0 else self._word(dividend // divisor)


@internal
@pure
def remainder(dividend: int256, divisor: int256) -> uint256:
    """
    @notice The word of the remainder, which has the dividend's sign; of the dividend by zero.
    """
    return self._word(dividend if divisor == 0 else dividend % divisor)
