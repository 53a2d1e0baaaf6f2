"""Storage types in generated code: widening what was loaded to words, narrowing words to what is stored."""

from __future__ import annotations

from llvmlite import ir

from tallystick.engine.emit import Emitter
from tallystick.engine.words import (
    CANONICAL_NAN,
    F32,
    I8,
    I16,
    I32,
    NEVER,
    Word,
    lanes_of,
    splat_constant,
    vector,
)
from tallystick.spec.tensors import DType

_HALF = ir.HalfType()

MEMORY_TYPE: dict[DType, ir.Type] = {
    DType.F32: F32,
    DType.I32: I32,
    DType.U8: I8,
    DType.I8: I8,
    DType.BOOL: I8,
    DType.BF16: I16,
    DType.F16: I16,
}
"""The LLVM type an element is loaded and stored as."""


def widen(emitter: Emitter, dtype: DType, raw: ir.Value) -> Word:
    """The word that a loaded element means."""
    builder, lanes = emitter.builder, lanes_of(raw)
    word = vector(I32, lanes)
    match dtype:
        case DType.F32:
            return Word(raw, nan=CANONICAL_NAN)
        case DType.I32:
            return Word(raw)
        case DType.U8 | DType.BOOL:
            return Word(builder.zext(raw, word), nan=NEVER)
        case DType.I8:
            return Word(builder.sext(raw, word))
        case DType.BF16:
            bits = builder.shl(builder.zext(raw, word), splat_constant(I32, 16, lanes))
            return Word(builder.bitcast(bits, vector(F32, lanes)), exact=False, nan=CANONICAL_NAN)
        case DType.F16:
            return Word(_from_float16(emitter, raw), exact=False, nan=CANONICAL_NAN)


def narrow(emitter: Emitter, dtype: DType, word: Word) -> ir.Value:
    """What a word is stored as."""
    builder, lanes = emitter.builder, lanes_of(word.value)
    match dtype:
        case DType.F32:
            return builder.bitcast(emitter.canonical_bits(word), vector(F32, lanes))
        case DType.I32:
            return emitter.as_int(word)
        case DType.U8 | DType.I8:
            return builder.trunc(emitter.as_int(word), vector(I8, lanes))
        case DType.BOOL:
            return builder.zext(emitter.as_mask(word), vector(I8, lanes))
        case DType.BF16:
            return _to_bfloat16(emitter, word)
        case DType.F16:
            return _to_float16(emitter, emitter.as_float(word))


def _to_bfloat16(emitter: Emitter, word: Word) -> ir.Value:
    """The nearest, ties to even: the carry of adding just under half a unit (or half, if the last bit is odd)."""
    builder, lanes = emitter.builder, lanes_of(word.value)

    def constant(number: int) -> ir.Constant:
        return splat_constant(I32, number, lanes)

    bits = emitter.canonical_bits(word)
    odd = builder.and_(builder.lshr(bits, constant(16)), constant(1))
    rounded = builder.add(builder.add(bits, constant(0x7FFF)), odd)  # the canonical NaN's low half is 0: it stays
    return builder.trunc(builder.lshr(rounded, constant(16)), vector(I16, lanes))


def _from_float16(emitter: Emitter, raw: ir.Value) -> ir.Value:
    builder, lanes = emitter.builder, lanes_of(raw)
    if emitter.target.has_half:
        return builder.fpext(builder.bitcast(raw, vector(_HALF, lanes)), vector(F32, lanes))

    def constant(number: int) -> ir.Constant:
        return splat_constant(I32, number, lanes)

    bits = builder.zext(raw, vector(I32, lanes))
    sign = builder.shl(builder.and_(bits, constant(0x8000)), constant(16))
    # The fraction and exponent in binary32's places, off by a factor 2^112 that a multiplication restores exactly,
    # subnormals included.
    magnitude = builder.shl(builder.and_(bits, constant(0x7FFF)), constant(13))
    scaled = builder.fmul(builder.bitcast(magnitude, vector(F32, lanes)), splat_constant(F32, 2.0**112, lanes))
    special = builder.icmp_unsigned(">=", magnitude, constant(0x0F800000))
    finite = builder.bitcast(scaled, vector(I32, lanes))
    infinite = builder.or_(magnitude, constant(0x7F800000))
    result = builder.or_(builder.select(special, infinite, finite), sign)
    return builder.bitcast(result, vector(F32, lanes))


def _to_float16(emitter: Emitter, value: ir.Value) -> ir.Value:
    builder, lanes = emitter.builder, lanes_of(value)
    is_nan = builder.fcmp_unordered("uno", value, value)
    if emitter.target.has_half:
        half = builder.bitcast(builder.fptrunc(value, vector(_HALF, lanes)), vector(I16, lanes))
        return builder.select(is_nan, splat_constant(I16, 0x7E00, lanes), half)

    def constant(number: int) -> ir.Constant:
        return splat_constant(I32, number, lanes)

    bits = builder.bitcast(value, vector(I32, lanes))
    sign = builder.lshr(builder.and_(bits, constant(0x80000000)), constant(16))
    magnitude = builder.and_(bits, constant(0x7FFFFFFF))
    # Below the smallest normal: adding 0.5 lines the last bit of binary32 up with 2^-24 and rounds there.
    shifted = builder.fadd(builder.bitcast(magnitude, vector(F32, lanes)), splat_constant(F32, 0.5, lanes))
    small = builder.sub(builder.bitcast(shifted, vector(I32, lanes)), constant(0x3F000000))
    # Normal: the carry of adding just under half a unit, as for bfloat16, and the exponent's bias corrected.
    odd = builder.and_(builder.lshr(magnitude, constant(13)), constant(1))
    rounded = builder.add(builder.add(magnitude, constant(0x0FFF - (112 << 23))), odd)
    normal = builder.lshr(rounded, constant(13))
    large = builder.icmp_unsigned(">=", magnitude, constant(0x47800000))  # 2^16 and more; 65520 and more carry up to it
    result = builder.select(builder.icmp_unsigned("<", magnitude, constant(0x38800000)), small, normal)
    result = builder.select(large, constant(0x7C00), result)
    result = builder.select(is_nan, constant(0x7E00), builder.or_(result, sign))
    return builder.trunc(result, vector(I16, lanes))
