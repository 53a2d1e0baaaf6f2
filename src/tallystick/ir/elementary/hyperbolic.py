"""tanh, sigmoid, sinh and cosh: at most 1 ulp from the exact value, for every float."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.ir.builder import CodeBuilder, Register
from tallystick.ir.elementary.exponential import EXP, EXPM1
from tallystick.ir.elementary.reduction import (
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    ROUNDER,
    at_least,
    at_most,
    exponent_field,
    polynomial,
    subtract_ln2_multiple,
    with_sign_of,
)

TANH_NEAR_LIMIT = 1.0
TANH_NEAR = (
    -0.33333295583724976,
    0.13332346081733704,
    -0.05387984588742256,
    0.0214866753667593,
    -0.007946008816361427,
    0.002301219617947936,
    -0.0003583927755244076,
)
EXP_OF_TWICE = (
    1.0,
    2.0,
    1.999999761581421,
    1.3333216905593872,
    0.6666922569274902,
    0.26779788732528687,
    0.08845406025648117,
)
CANONICAL_NAN = 0x7FC00000
EXP_OF_MINUS = tuple((-1) ** power * coefficient for power, coefficient in enumerate(EXP))
# sinh x = x + x^3 * (SINH[0] + SINH[1] x^2 + ...), |x| <= 1
SINH = tuple(map(float.fromhex, ("0x1.555556p-3", "0x1.1110e2p-7", "0x1.a02156p-13", "0x1.75a6f0p-19")))
LARGEST = 90.0  # sinh and cosh of it are infinite


def tanh(b: CodeBuilder, x: Register) -> Register:
    """The hyperbolic tangent: an odd polynomial near 0, else 1 - 1 / (exp(2|x|) / 2 + 1/2)."""
    # NEAR ZERO
    square = b.fmul(x, x)
    cube = b.fmul(x, square)
    near = b.ffma(cube, polynomial(b, square, TANH_NEAR), x)
    # FAR
    size = b.fabs(x)
    bounded = at_most(b, size, 9.02)
    rounder = b.float(ROUNDER + 126)
    total = b.ffma(bounded, b.float(2 * LOG2_E), rounder)
    r = subtract_ln2_multiple(b, bounded, b.fsub(total, rounder), 0.5)
    half = b.float(0.5)
    denominator = b.ffma(polynomial(b, r, EXP_OF_TWICE), exponent_field(b, total), half)
    one = b.float(1.0)
    far = b.fsub(one, b.fdiv(one, denominator))
    # The cube has the sign of x, of a zero too, and is the canonical NaN where x is any NaN.
    return with_sign_of(b, b.select(b.fle(b.float(TANH_NEAR_LIMIT), size), far, near), cube)


def sigmoid(b: CodeBuilder, x: Register) -> Register:
    """1 / (1 + exp(-x)), as 2^m / (2^m + exp(-r)) with x = m ln 2 + r.

    The sum's rounding error is computed exactly and taken out of the quotient. Everything is 2^24 times as large, so
    that a subnormal 2^m has an exponent field of its own.
    """
    x = at_most(b, at_least(b, x, -104.0), 18.0)
    rounder = b.float(ROUNDER + 127 + 24)
    total = b.ffma(x, b.float(LOG2_E), rounder)
    r = subtract_ln2_multiple(b, x, b.fsub(total, rounder))
    power = exponent_field(b, total)
    one = b.float(2.0**24)
    # DENOMINATOR AND ITS ERROR
    curve = polynomial(b, r, [2.0**24 * c for c in EXP_OF_MINUS])
    less_one = b.ffma(b.fmul(r, r), curve, b.fmul(r, b.float(-(2.0**24))))  # exp(-r) - 1
    denominator = b.fadd(less_one, b.fadd(power, one))
    positive = b.flt(b.float(0.0), x)
    larger, smaller = b.select(positive, power, one), b.select(positive, one, power)
    error = b.fadd(less_one, b.fadd(b.fsub(larger, denominator), smaller))
    # QUOTIENT
    reciprocal = b.fdiv(b.float(-1.0), denominator)
    residue = b.ffma(error, reciprocal, b.ffma(denominator, reciprocal, b.float(1.0)))
    return b.fmul(b.ffma(reciprocal, residue, reciprocal), b.fneg(power))


@dataclass(frozen=True, slots=True)
class Exponential:
    """exp(|x|) = 2^n * (high + low); ``inverse`` is 2^-2n / high, so that 2^n * inverse = exp(-|x|)."""

    high: Register
    low: Register
    inverse: Register
    scale: Register  # 2^(n - 2): a factor 2 short of the one that halves the sum, so that it is finite


def sinh(b: CodeBuilder, x: Register) -> Register:
    """The hyperbolic sine: an odd polynomial near 0, else half the difference of exponentials."""
    square = b.fmul(x, x)
    near = b.ffma(b.fmul(x, square), polynomial(b, square, SINH), x)
    size = b.fabs(x)
    parts = exponential(b, size)
    far = doubled(b, parts, b.fadd(parts.high, b.fsub(parts.low, parts.inverse)))
    value = with_sign_of(b, b.select(b.fle(b.float(1.0), size), far, near), x)
    return b.select(b.feq(x, x), value, b.word(CANONICAL_NAN))


def cosh(b: CodeBuilder, x: Register) -> Register:
    """The hyperbolic cosine: half the sum of exponentials."""
    parts = exponential(b, b.fabs(x))
    value = doubled(b, parts, b.fadd(parts.high, b.fadd(parts.low, parts.inverse)))
    return b.select(b.feq(x, x), value, b.word(CANONICAL_NAN))


def doubled(b: CodeBuilder, parts: Exponential, total: Register) -> Register:
    return b.fmul(b.fmul(total, parts.scale), b.float(2.0))


def exponential(b: CodeBuilder, size: Register) -> Exponential:
    """The exponential of a number that is not negative, as a sum of two floats."""
    bounded = at_most(b, size, LARGEST)
    rounder = b.float(ROUNDER)
    total = b.ffma(bounded, b.float(LOG2_E), rounder)
    n = b.fsub(total, rounder)
    # REMAINDER, as a sum of two floats
    exact = b.ffma(n, b.float(-LN2_HIGH), bounded)
    r = b.ffma(n, b.float(-LN2_LOW), exact)
    r_low = b.ffma(n, b.float(-LN2_LOW), b.fsub(exact, r))
    # exp(r) = 1 + r + r^2 * curve
    one = b.float(1.0)
    rest = b.ffma(b.fmul(r, r), polynomial(b, r, EXPM1), r_low)
    head = b.fadd(one, r)
    rest = b.fadd(b.fadd(b.fsub(one, head), r), rest)
    high = b.fadd(head, rest)
    low = b.fadd(b.fsub(head, high), rest)
    # POWERS OF TWO
    exponent = b.f2i(n)
    few = b.select(b.ilt(exponent, b.word(60)), exponent, b.word(60))
    tiny = b.shl(b.isub(b.word(127), b.iadd(few, few)), b.word(23))
    scale = b.shl(b.iadd(exponent, b.word(125)), b.word(23))
    return Exponential(high, low, b.fdiv(tiny, high), scale)
