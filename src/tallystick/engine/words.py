"""Words in generated code: what is known about the bits of a register, and conversions between its readings.

The specification makes every NaN result canonical at once. Generated code lets hardware NaNs flow between float
instructions, whose results do not depend on which NaN they read, and repairs them only where bits become visible: in
an integer instruction or in memory. A `Word` carries what that needs to know.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from llvmlite import ir

I1 = ir.IntType(1)
I8 = ir.IntType(8)
I16 = ir.IntType(16)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
F32 = ir.FloatType()
F64 = ir.DoubleType()
CANONICAL_NAN = 0x7FC00000
SIGN = 0x80000000
NEVER = -1  # of Word.nan: the word is no NaN at all


@dataclass(frozen=True, slots=True)
class Word:
    """A register: a float, an i32 or an i1 (0 or 1), scalar or vector.

    ``exact``     the bits are the specification's. If not, they are wherever the value is no NaN, and where it is one
                  the specification's word is ``nan``.
    ``nan``       the only NaN word this can be (`NEVER` if none, None if unknown)
    ``constant``  the word itself, where known
    """

    value: ir.Value
    exact: bool = True
    nan: int | None = None
    constant: int | None = None


class Literal(ir.FormattedConstant):
    """A constant by its LLVM text. Vectors too, which llvmlite's own constants would write out lane by lane."""

    def __init__(self, type: ir.Type, text: str) -> None:
        self.type = type
        self.constant = text


class LaneNumbers(Literal):
    """A vector of integers known now, one per lane."""

    def __init__(self, numbers: Sequence[int], element: ir.IntType | None = None) -> None:
        fits = all(-(1 << 31) <= number < 1 << 31 for number in numbers)
        element = element or (I32 if fits else I64)
        texts = ", ".join(f"{element} {number}" for number in numbers)
        super().__init__(ir.VectorType(element, len(numbers)), f"<{texts}>")
        self.numbers = tuple(numbers)


def vector(element: ir.Type, lanes: int) -> ir.Type:
    """A vector type, or the element type for one lane."""
    return element if lanes == 1 else ir.VectorType(element, lanes)


def lanes_of(value: ir.Value) -> int:
    return value.type.count if isinstance(value.type, ir.VectorType) else 1


def element_of(value: ir.Value) -> ir.Type:
    return value.type.element if isinstance(value.type, ir.VectorType) else value.type


def splat_constant(element: ir.Type, number: int | float, lanes: int = 1) -> ir.Constant:
    """A constant in every lane. Floats are given as numbers, exactly representable in the type."""
    text = f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016x}" if element in (F32, F64) else str(int(number))
    if lanes == 1:
        return Literal(element, text)
    return Literal(ir.VectorType(element, lanes), f"splat ({element} {text})")


@cache
def lane_numbers(numbers: tuple[int, ...]) -> ir.Constant:
    """The mask of a shuffle."""
    return ir.Constant(ir.VectorType(I32, len(numbers)), list(numbers))


def constant_word(word: int, lanes: int = 1) -> Word:
    """A word known now, kept as an integer."""
    exponent_full = word & 0x7F800000 == 0x7F800000
    is_nan = exponent_full and word & 0x007FFFFF != 0
    return Word(splat_constant(I32, word, lanes), nan=word if is_nan else NEVER, constant=word)


def float_result(value: ir.Value) -> Word:
    """What a binary32 instruction yields: if NaN, any NaN of the hardware's choice."""
    return Word(value, exact=False, nan=CANONICAL_NAN)


def common_nan(a: int | None, b: int | None) -> int | None:
    """The only NaN word that either of two words can be."""
    if a in (NEVER, b):
        return b
    return a if b == NEVER else None


class Converter:
    """Reads words as floats, integers and masks, at any number of lanes."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def broadcast(self, value: ir.Value, lanes: int) -> ir.Value:
        """A scalar in every lane; vectors stay as they are."""
        if lanes == 1 or lanes_of(value) == lanes:
            return value
        assert lanes_of(value) == 1, "only scalars are broadcast"
        wide = ir.VectorType(value.type, lanes)
        undefined = ir.Constant(wide, ir.Undefined)
        first = self.builder.insert_element(undefined, value, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(first, undefined, lane_numbers((0,) * lanes))

    def widen(self, word: Word, lanes: int) -> Word:
        """A word at a number of lanes."""
        if lanes_of(word.value) == lanes:
            return word
        if word.constant is not None:
            return constant_word(word.constant, lanes)
        return replace(word, value=self.broadcast(word.value, lanes))

    def as_float(self, word: Word) -> ir.Value:
        """As binary32; NaNs may be any."""
        lanes = lanes_of(word.value)
        if word.constant is not None and word.nan == NEVER:
            number = struct.unpack("<f", struct.pack("<I", word.constant))[0]
            return splat_constant(F32, number, lanes)
        if element_of(word.value) == F32:
            return word.value
        return self.builder.bitcast(self.as_int(word), vector(F32, lanes))

    def as_int(self, word: Word) -> ir.Value:
        """As the specification's 32 bits."""
        lanes = lanes_of(word.value)
        kind = element_of(word.value)
        if kind == I1:
            return self.builder.zext(word.value, vector(I32, lanes))
        if kind == I32:
            return word.value
        bits = self.builder.bitcast(word.value, vector(I32, lanes))
        if word.exact:
            return bits
        assert word.nan is not None and word.nan != NEVER, "an inexact word knows what its NaN stands for"
        is_nan = self.builder.fcmp_unordered("uno", word.value, word.value)
        return self.builder.select(is_nan, splat_constant(I32, word.nan, lanes), bits)

    def as_mask(self, word: Word) -> ir.Value:
        """True where the word is not 0."""
        if element_of(word.value) == I1:
            return word.value
        lanes = lanes_of(word.value)
        bits = word.value
        if element_of(bits) == F32:  # whichever NaN it is, it is not 0
            bits = self.builder.bitcast(bits, vector(I32, lanes))
        return self.builder.icmp_unsigned("!=", bits, splat_constant(I32, 0, lanes))

    def exactly(self, word: Word) -> Word:
        """The same word with the specification's bits."""
        return word if word.exact else Word(self.as_int(word), nan=word.nan)

    def canonical_bits(self, word: Word) -> ir.Value:
        """The 32 bits that are stored in float32 memory: every NaN is the canonical one."""
        if word.exact and word.nan in (NEVER, CANONICAL_NAN):
            return self.as_int(word)
        return self.as_int(Word(self.as_float(word), exact=False, nan=CANONICAL_NAN))
