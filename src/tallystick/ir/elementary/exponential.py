"""exp, exp2 and expm1: at most 1 ulp from the exact value, for every float.

All three write the exponent as an integer n plus a remainder r of at most half a binade, take the polynomial of r and
put n into the exponent's bits. n is found by adding a large number whose last place is 1, so that the sum's low bits
are the integer. Subnormal results come from a scale with room to spare, followed by one rounding multiplication.
"""

from __future__ import annotations

from tallystick.ir.builder import CodeBuilder, Register
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
)

EXP = (0.4999998211860657, 0.16666516661643982, 0.041671693325042725, 0.008369055576622486, 0.0013609796296805143)
EXP2 = (
    1.0,
    0.6931471824645996,
    0.24022647738456726,
    0.05550359934568405,
    0.009618505835533142,
    0.0013390806270763278,
    0.00015326471475418657,
)
EXPM1 = (
    0.5,
    0.16666670143604279,
    0.04166658967733383,
    0.008332042023539543,
    0.0013917851028963923,
    0.00020942055562045425,
)
EXPM1_SHIFT = 0.05889151782819174  # ln 3/2 - ln(2) / 2


def exp(b: CodeBuilder, x: Register) -> Register:
    """e to the power x."""
    lowest = b.float(-104.0)
    vanishes = b.flt(x, lowest)  # as what a mask leaves out of a softmax does
    x = at_most(b, b.select(vanishes, lowest, x), 89.0)
    rounder = b.float(ROUNDER + 2 * 127)
    total = b.ffma(x, b.float(LOG2_E), rounder)
    r = subtract_ln2_multiple(b, x, b.fsub(total, rounder))
    less_one = b.ffma(b.fmul(r, r), polynomial(b, r, EXP), r)  # exp(r) - 1
    # SCALE BY 2^n, half of n at a time: n goes from -150 to 128
    first = b.shl(b.lshr(total, b.word(1)), b.word(23))
    second = b.isub(exponent_field(b, total), first)
    # Products that underflow slow some processors down: a result that is surely 0 is a product with 0.
    second = b.select(vanishes, b.word(0), second)
    return b.fmul(b.ffma(less_one, first, first), second)


def exp2(b: CodeBuilder, x: Register) -> Register:
    """2 to the power x; exact where x is an integer."""
    return exp2_of_sum(b, at_most(b, at_least(b, x, -151.0), 129.0))


def exp2_of_sum(b: CodeBuilder, high: Register, low: Register | None = None) -> Register:
    """2 to the power high + low, for -190 < high < 190 and a low that is small against 1."""
    rounder, scale = _scaling(b, high)
    total = b.fadd(high, rounder)
    r = b.fsub(high, b.fsub(total, rounder))
    if low is not None:
        r = b.fadd(r, low)
    mantissa = polynomial(b, r, EXP2)
    return b.fmul(b.iadd(mantissa, exponent_field(b, total)), scale)


def _scaling(b: CodeBuilder, x: Register) -> tuple[Register, Register]:
    """A rounder that moves the exponent 64 towards 0, where every mantissa makes a normal number, and the scale that
    takes this back: down to the subnormal numbers, up to those near 2^128 and over to infinity."""
    negative = b.flt(x, b.float(0.0))
    rounder = b.select(negative, b.float(ROUNDER + 64), b.float(ROUNDER - 64))
    return rounder, b.select(negative, b.float(2.0**-64), b.float(2.0**64))


def expm1(b: CodeBuilder, x: Register) -> Register:
    """e to the power x, minus 1, accurate near 0: 2^n - 1 + 2^n (exp(r) - 1), all of it halved, so that n may be 128.

    r lies between ln 3/4 and ln 3/2: with n = 0 for just the results between -1/4 and 1/2, no sum that follows loses
    more than its own rounding. What is lost of 2^n - 1 is added to the smaller term.
    """
    bounded = at_most(b, at_least(b, x, -20.0), 89.0)
    rounder = b.float(ROUNDER + 126)
    total = b.ffma(b.fsub(bounded, b.float(EXPM1_SHIFT)), b.float(LOG2_E), rounder)
    n = b.fsub(total, rounder)
    high = b.ffma(n, b.float(-LN2_HIGH), bounded)  # exact
    low = b.fmul(n, b.float(-LN2_LOW))
    r = b.fadd(high, low)
    tail = b.ffma(b.fmul(r, r), polynomial(b, r, EXPM1), low)  # exp(r) - 1 = high + tail
    scale, half = exponent_field(b, total), b.float(0.5)
    start = b.fsub(scale, half)
    lost = b.fsub(b.fsub(scale, start), half)
    result = b.fadd(b.ffma(scale, tail, b.ffma(scale, high, lost)), start)
    tiny = b.flt(b.fabs(x), b.float(2.0**-26))  # expm1(x) is x, and halves could lose a subnormal's last bit
    return b.select(tiny, x, b.fadd(result, result))
