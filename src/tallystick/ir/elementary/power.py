"""Powers and reciprocal square roots.

``pow`` is 2^(y * log2 |x|). The logarithm is a sum of two floats, good to about 36 bits, because its error grows with
the exponent of the result. Coefficients come from ``tools/fit_logarithm_power_trigonometric.py``.
"""

from __future__ import annotations

from tallystick.ir.builder import CodeBuilder, Register
from tallystick.ir.elementary.exponential import exp2_of_sum
from tallystick.ir.elementary.logarithm import exponent_and_fraction, normalisation, normalised
from tallystick.ir.elementary.reduction import at_least, at_most, polynomial

Pair = tuple[Register, Register]  # a sum of two floats, the second small against the first

# atanh z = z * (1 + s * (1/3 + s * (ATANH[0] + ATANH[1] s + ...))), s = z^2
ATANH = tuple(map(float.fromhex, ("0x1.999998p-3", "0x1.2493b6p-3", "0x1.c63d86p-4", "0x1.908a26p-4")))
THIRD = (float.fromhex("0x1.555556p-2"), float.fromhex("-0x1.555556p-27"))
TWO_LOG2_E = (float.fromhex("0x1.715476p+1"), float.fromhex("0x1.4ae0c0p-25"))
ONE = 0x3F800000
INFINITY = 0x7F800000
NAN = 0x7FC00000
SIGN = 0x80000000


def rsqrt(b: CodeBuilder, x: Register) -> Register:
    """1 / sqrt(x), within 1 ulp; infinity of the sign of a zero, NaN for negative numbers.

    Square root and quotient are each rounded; one Newton step with their exact errors takes both back.
    """
    one = b.float(1.0)
    # Where the square root's error would fall off the bottom of the range, x is scaled by 2^24, the result by 2^12.
    small = b.ult(b.fabs(x), b.word(0x0F800000))
    scaled = b.select(small, b.fmul(x, b.float(2.0**24)), x)
    root = b.fsqrt(scaled)
    inverse = b.fdiv(one, root)
    remainder = b.ffma(b.fneg(root), root, scaled)
    error = b.ffma(b.fneg(root), inverse, one)
    error = b.ffma(b.fmul(remainder, inverse), b.fmul(inverse, b.float(-0.5)), error)
    corrected = b.ffma(inverse, error, inverse)
    ordinary = b.ult(b.isub(scaled, b.word(0x00800000)), b.word(INFINITY - 0x00800000))
    chosen = b.select(ordinary, corrected, inverse)
    return b.select(small, b.fmul(chosen, b.float(2.0**12)), chosen)


def pow(b: CodeBuilder, x: Register, y: Register) -> Register:
    """x to the power y, within 2 ulp, with the special cases of C99, annex F."""
    magnitude = b.fabs(x)
    high, low = log2_pair(b, magnitude)
    # TIMES y, kept where 2 to it is a float or just past the end
    product = b.fmul(y, high)
    clamped = at_most(b, at_least(b, product, -151.0), 129.0)
    rest = b.ffma(y, low, b.ffma(y, high, b.fneg(product)))
    rest = b.select(b.feq(product, clamped), rest, b.word(0))
    power = exp2_of_sum(b, clamped, rest)
    power = b.select(b.ieq(magnitude, b.word(ONE)), b.word(ONE), power)
    return special_cases(b, x, y, power)


def special_cases(b: CodeBuilder, x: Register, y: Register, power: Register) -> Register:
    """The sign of the result, NaN, and the cases that are 1 whatever the other operand is."""
    magnitude, size = b.fabs(x), b.fabs(y)
    # Floats of 2^24 and more are even integers.
    large = b.fle(b.float(2.0**24), size)
    is_integer = b.or_(large, b.feq(b.frint(y), y))
    is_odd = b.select(large, b.word(0), b.and_(b.f2i(y), b.and_(is_integer, b.word(1))))
    signed = b.or_(power, b.and_(b.and_(x, b.shl(is_odd, b.word(31))), b.word(SIGN)))
    # A negative number to a power that is no integer; zeros and infinities have one.
    negative = b.ult(b.isub(x, b.word(SIGN + 1)), b.word(INFINITY - 1))
    undefined = b.and_(negative, b.ieq(is_integer, b.word(0)))
    is_nan = b.or_(b.ult(b.word(INFINITY), magnitude), b.ult(b.word(INFINITY), size))
    value = b.select(b.or_(undefined, is_nan), b.word(NAN), signed)
    is_one = b.or_(b.ieq(x, b.word(ONE)), b.ieq(size, b.word(0)))
    return b.select(is_one, b.word(ONE), value)


# LOGARITHM IN TWO FLOATS
def log2_pair(b: CodeBuilder, magnitude: Register) -> Pair:
    """log2 of a number without a sign; -infinity for 0 and infinity for infinity."""
    e, f = exponent_and_fraction(b, normalised(b, magnitude), normalisation(b, magnitude))
    high, low = log2_of_fraction(b, f)
    exponent = b.i2f(e)
    total = b.fadd(exponent, high)
    rest = b.fadd(b.fadd(b.fsub(exponent, total), high), low)
    is_zero = b.ieq(magnitude, b.word(0))
    is_infinite = b.ieq(magnitude, b.word(INFINITY))
    total = b.select(is_zero, b.word(SIGN | INFINITY), b.select(is_infinite, magnitude, total))
    return total, rest


def log2_of_fraction(b: CodeBuilder, f: Register) -> Pair:
    """log2(1 + f) = 2 log2(e) atanh(f / (2 + f))."""
    z = quotient(b, f)
    series = times(b, square(b, z), third_and_more(b, square(b, z)[0]))
    head = times(b, z, (b.float(TWO_LOG2_E[0]), b.float(TWO_LOG2_E[1])))
    tail = times(b, head, series)
    high = b.fadd(head[0], tail[0])
    low = b.fadd(b.fadd(b.fsub(head[0], high), tail[0]), b.fadd(tail[1], head[1]))
    return high, low


def quotient(b: CodeBuilder, f: Register) -> Pair:
    """f / (2 + f)"""
    two = b.float(2.0)
    divisor = b.fadd(two, f)
    divisor_low = b.fsub(f, b.fsub(divisor, two))
    inverse = b.fdiv(b.float(1.0), divisor)
    high = b.fmul(f, inverse)
    remainder = b.ffma(b.fneg(high), divisor, f)
    remainder = b.ffma(b.fneg(high), divisor_low, remainder)
    return high, b.fmul(remainder, inverse)


def third_and_more(b: CodeBuilder, s: Register) -> Pair:
    """1/3 + s * ATANH(s)"""
    third, third_low = (b.float(part) for part in THIRD)
    more = b.fmul(s, polynomial(b, s, ATANH))
    high = b.fadd(third, more)
    return high, b.fadd(b.fadd(b.fsub(third, high), more), third_low)


def square(b: CodeBuilder, z: Pair) -> Pair:
    high = b.fmul(z[0], z[0])
    return high, b.ffma(b.fadd(z[0], z[0]), z[1], b.ffma(z[0], z[0], b.fneg(high)))


def times(b: CodeBuilder, u: Pair, v: Pair) -> Pair:
    high = b.fmul(u[0], v[0])
    low = b.ffma(u[0], v[0], b.fneg(high))
    return high, b.ffma(u[1], v[0], b.ffma(u[0], v[1], low))
