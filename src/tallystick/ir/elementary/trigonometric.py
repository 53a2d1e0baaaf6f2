"""Sine, cosine and tangent of every float, however large, after Payne and Hanek.

|x| = m * 2^k with a 24-bit integer m. Multiplied by 2 / pi only the bits of 2 / pi matter whose product with m lies
between 2 (what is above is a multiple of four quarter turns) and 2^-62: a window of 96 bits, picked by the exponent.
All of it is 32-bit integer arithmetic. Coefficients come from ``tools/fit_logarithm_power_trigonometric.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from tallystick.ir.builder import CodeBuilder, Register
from tallystick.ir.elementary.reduction import cube, polynomial

# 2 / pi in binary: 32 zero bits, then its first 224 bits after the point.
TWO_OVER_PI = (
    0x00000000, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB,
)  # fmt: skip
WINDOW_START = 120  # the biased exponent at which the window starts at the first bit
SMALL_EXPONENT = 125  # below this biased exponent |x| < 1/4 is its own remainder

# pi / 2 * 2^-30 as a sum of two floats
QUARTER_TURN = (float.fromhex("0x1.921fb6p-30"), float.fromhex("-0x1.777a5cp-55"))
# sin r = r + r^3 * (SIN[0] + SIN[1] r^2 + ...), cos r = 1 - r^2 / 2 + r^4 * (COS[0] + ...), |r| <= pi / 4
SIN = tuple(map(float.fromhex, ("-0x1.555556p-3", "0x1.111176p-7", "-0x1.a05bbap-13", "0x1.7cd84ap-19")))
COS = tuple(map(float.fromhex, ("0x1.555556p-5", "-0x1.6c1762p-10", "0x1.a075e8p-16", "-0x1.37243ep-22")))
# tan r = r + r^3 * (TAN[0] + TAN[1] r^2 + ...)
TAN = tuple(
    map(
        float.fromhex,
        (
            "0x1.555554p-2", "0x1.111196p-3", "0x1.b9f856p-5", "0x1.688ff0p-6",
            "0x1.0e4b00p-7", "0x1.523864p-8", "-0x1.9500e8p-11", "0x1.155f02p-9",
        ),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reduced:
    """|x| = quarter * pi / 2 + high + low, with |high + low| <= pi / 4; ``quarter`` counts modulo 4."""

    quarter: Register
    high: Register
    low: Register


def sin(b: CodeBuilder, x: Register) -> Register:
    """Sine, within 1 ulp below 2^24 and 1.1 ulp beyond; NaN for infinities."""
    reduced = reduce(b, x)
    turned = quarter_wave(b, reduced, reduced.quarter)
    value = b.xor(turned, b.and_(x, b.word(0x80000000)))
    # Below 2^-13 sin x rounds to x, or to the float beside it by less than 1 ulp: zero keeps its sign.
    tiny = b.ult(b.fabs(x), b.word(0x39000000))
    return finite_only(b, x, b.select(tiny, x, value))


def cos(b: CodeBuilder, x: Register) -> Register:
    """Cosine, within 1 ulp below 2^24 and 1.1 ulp beyond; NaN for infinities."""
    reduced = reduce(b, x)
    return finite_only(b, x, quarter_wave(b, reduced, b.iadd(reduced.quarter, b.word(1))))


def tan(b: CodeBuilder, x: Register) -> Register:
    """Tangent, within 1 ulp below 2^24 and 2 ulp beyond; NaN for infinities."""
    reduced = reduce(b, x)
    # TANGENT NEAR ZERO, as a sum of two floats
    square, third, lost = cube(b, reduced.high)
    curve = polynomial(b, square, TAN)
    about = b.ffma(third, curve, reduced.high)
    lost = b.ffma(lost, curve, b.ffma(b.fmul(about, about), reduced.low, reduced.low))
    tail = b.ffma(third, curve, lost)
    high = b.fadd(reduced.high, tail)
    low = b.fadd(b.fsub(reduced.high, high), tail)
    # An odd number of quarter turns: -1 / tangent, with one Newton step for what the first quotient lacks
    one = b.float(1.0)
    first = b.fdiv(b.float(-1.0), high)
    residue = b.ffma(first, low, b.ffma(first, high, one))
    turned = b.ffma(first, residue, first)
    value = b.select(b.and_(reduced.quarter, b.word(1)), turned, high)
    value = b.xor(value, b.and_(x, b.word(0x80000000)))
    tiny = b.ult(b.fabs(x), b.word(0x39000000))
    return finite_only(b, x, b.select(tiny, x, value))


def quarter_wave(b: CodeBuilder, reduced: Reduced, quarter: Register) -> Register:
    """sin(quarter * pi / 2 + high + low)."""
    is_cos = b.and_(quarter, b.word(1))
    value = b.select(is_cos, cosine_near_zero(b, reduced), sine_near_zero(b, reduced))
    return b.xor(value, b.shl(b.and_(quarter, b.word(2)), b.word(30)))


def sine_near_zero(b: CodeBuilder, reduced: Reduced) -> Register:
    square = b.fmul(reduced.high, reduced.high)
    third = b.fmul(square, reduced.high)
    return b.fadd(reduced.high, b.ffma(third, polynomial(b, square, SIN), reduced.low))


def cosine_near_zero(b: CodeBuilder, reduced: Reduced) -> Register:
    one = b.float(1.0)
    square = b.fmul(reduced.high, reduced.high)
    half = b.fmul(square, b.float(0.5))
    head = b.fsub(one, half)
    lost = b.fsub(b.fsub(one, head), half)
    lost = b.ffma(b.fneg(reduced.high), reduced.low, lost)
    return b.fadd(head, b.ffma(b.fmul(square, square), polynomial(b, square, COS), lost))


def finite_only(b: CodeBuilder, x: Register, value: Register) -> Register:
    return b.select(b.ult(b.fabs(x), b.word(0x7F800000)), value, b.word(0x7FC00000))


# ARGUMENT REDUCTION
def reduce(b: CodeBuilder, x: Register) -> Reduced:
    magnitude = b.fabs(x)
    exponent = b.lshr(magnitude, b.word(23))
    high_word, low_word = turns(b, magnitude, exponent)
    # ROUND to the nearest quarter; what is left is a signed fraction of a quarter turn in units of 2^-62.
    quarter = b.lshr(b.iadd(high_word, b.word(1 << 29)), b.word(30))
    fraction = b.isub(high_word, b.shl(quarter, b.word(30)))
    sign = b.ashr(fraction, b.word(31))
    fraction, low_word = b.xor(fraction, sign), b.xor(low_word, sign)
    # TO FLOAT: 24 bits, then the next 31
    large = b.i2f(b.and_(fraction, b.word(~63)))
    rest = b.or_(b.shl(b.and_(fraction, b.word(63)), b.word(25)), b.lshr(low_word, b.word(7)))
    small = b.fmul(b.i2f(rest), b.float(2.0**-25))
    # TIMES pi / 2
    turn, turn_low = (b.float(part) for part in QUARTER_TURN)
    product = b.fmul(large, turn)
    lost = b.ffma(large, turn, b.fneg(product))
    lost = b.ffma(small, turn, b.ffma(large, turn_low, lost))
    high = b.fadd(product, lost)
    low = b.fadd(b.fsub(product, high), lost)
    # SMALL ARGUMENTS are their own remainder
    is_small = b.ult(exponent, b.word(SMALL_EXPONENT))
    negative = b.and_(sign, b.word(0x80000000))
    zero = b.word(0)
    return Reduced(
        quarter=b.select(is_small, zero, quarter),
        high=b.select(is_small, magnitude, b.xor(high, negative)),
        low=b.select(is_small, zero, b.xor(low, negative)),
    )


def turns(b: CodeBuilder, magnitude: Register, exponent: Register) -> tuple[Register, Register]:
    """|x| * 2 / pi modulo 4 as a 64-bit fixed-point number (high and low word) with 62 bits after the point."""
    mantissa = b.or_(b.and_(magnitude, b.word(0x007FFFFF)), b.word(0x00800000))
    w0, w1, w2 = window(b, b.isub(exponent, b.word(WINDOW_START)))
    low = b.iadd(b.imul(mantissa, w1), b.umulhi(mantissa, w2))
    carry = b.ult(low, b.umulhi(mantissa, w2))
    high = b.iadd(b.iadd(b.imul(mantissa, w0), b.umulhi(mantissa, w1)), carry)
    return high, low


def window(b: CodeBuilder, start: Register) -> tuple[Register, Register, Register]:
    """96 bits of `TWO_OVER_PI` from a bit number in 0..134 on, as three words."""
    steps = len(TWO_OVER_PI) - 4
    past = [b.ilt(b.word(32 * (step + 1) - 1), start) for step in range(steps)]
    words = []
    for first in range(4):
        word = b.word(TWO_OVER_PI[first])
        for step in range(steps):
            word = b.select(past[step], b.word(TWO_OVER_PI[first + step + 1]), word)
        words.append(word)
    shift = b.and_(start, b.word(31))
    back = b.isub(b.word(31), shift)
    one = b.word(1)
    joined = [b.or_(b.shl(left, shift), b.lshr(b.lshr(right, one), back)) for left, right in pairwise(words)]
    return joined[0], joined[1], joined[2]
