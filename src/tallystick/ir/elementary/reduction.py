"""Steps that several functions share: rounding to an integer, powers of two, polynomials, clamping."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.ir.builder import CodeBuilder, Register

ROUNDER = 1.5 * 2.0**23  # added to a float below 2^22, it leaves the nearest integer in the low bits of the sum
LOG2_E = 1.4426950408889634
LN2_HIGH = 0.693145751953125  # ln 2 to 16 bits: its product with an 8-bit integer is exact
LN2_LOW = 1.428606820309417e-06


def polynomial(b: CodeBuilder, x: Register, coefficients: Sequence[float]) -> Register:
    """Horner's rule; the constant term comes first."""
    value = b.float(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = b.ffma(value, x, b.float(coefficient))
    return value


def cube(b: CodeBuilder, x: Register) -> tuple[Register, Register, Register]:
    """x^2, x^3, and what the rounded x^3 lacks."""
    square = b.fmul(x, x)
    product = b.fmul(square, x)
    lost = b.ffma(x, x, b.fneg(square))
    return square, product, b.ffma(lost, x, b.ffma(square, x, b.fneg(product)))


def at_least(b: CodeBuilder, x: Register, low: float) -> Register:
    """x, or ``low`` where x is below it; NaN stays NaN."""
    bound = b.float(low)
    return b.select(b.flt(x, bound), bound, x)


def at_most(b: CodeBuilder, x: Register, high: float) -> Register:
    """x, or ``high`` where x is above it; NaN stays NaN."""
    bound = b.float(high)
    return b.select(b.flt(bound, x), bound, x)


def subtract_ln2_multiple(b: CodeBuilder, x: Register, n: Register, unit: float = 1.0) -> Register:
    """x - n * unit * ln 2 for an integral float n of at most 8 bits and a power of two ``unit``."""
    exact = b.ffma(n, b.float(-LN2_HIGH * unit), x)
    return b.ffma(n, b.float(-LN2_LOW * unit), exact)


def exponent_field(b: CodeBuilder, sum_with_rounder: Register) -> Register:
    """The integer in the low bits of a sum with `ROUNDER`, moved to where a float has its exponent."""
    return b.shl(sum_with_rounder, b.word(23))


def with_sign_of(b: CodeBuilder, magnitude: Register, x: Register) -> Register:
    """A positive float, negative where x is."""
    return b.or_(magnitude, b.and_(x, b.word(0x80000000)))
