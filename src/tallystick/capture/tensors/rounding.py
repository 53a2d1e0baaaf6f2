"""Rounding a binary32 word to a narrower float without storing it, as a store and a load would round it."""

from __future__ import annotations

from tallystick.ir.builder import CodeBuilder, Register

CANONICAL_NAN = 0x7FC00000


def round_bfloat16(b: CodeBuilder, x: Register) -> Register:
    """The binary32 that equals the bfloat16 nearest to x, ties to even."""
    odd = b.and_(b.lshr(x, b.word(16)), b.word(1))
    rounded = b.and_(b.iadd(x, b.iadd(odd, b.word(0x7FFF))), b.word(0xFFFF0000))
    return b.select(b.feq(x, x), rounded, b.word(CANONICAL_NAN))


def round_float16(b: CodeBuilder, x: Register) -> Register:
    """The binary32 that equals the binary16 nearest to x, ties to even."""
    size = b.fabs(x)
    odd = b.and_(b.lshr(size, b.word(13)), b.word(1))
    normal = b.and_(b.iadd(size, b.iadd(odd, b.word(0xFFF))), b.word(0xFFFFE000))
    # A binary16 below 2^-14 is a multiple of 2^-24, which is what a binary32 in [0.5, 1) is a multiple of.
    small = b.fsub(b.fadd(size, b.float(0.5)), b.float(0.5))
    value = b.select(b.flt(size, b.float(2.0**-14)), small, normal)
    value = b.select(b.fle(b.float(65520.0), size), b.float(float("inf")), value)
    signed = b.or_(value, b.and_(x, b.word(0x80000000)))
    return b.select(b.feq(x, x), signed, b.word(CANONICAL_NAN))
