"""Arctangent, arcsine and arccosine: at most 1 ulp from the exact value, for every float.

Large arguments are turned into small ones first, and what that loses is kept as a second float until the end.
Coefficients come from ``tools/fit_logarithm_power_trigonometric.py``.
"""

from __future__ import annotations

from tallystick.ir.builder import CodeBuilder, Register
from tallystick.ir.elementary.reduction import cube, polynomial, with_sign_of

# pi / 2 as a sum of two floats
HALF_PI = (float.fromhex("0x1.921fb6p+0"), float.fromhex("-0x1.777a5cp-25"))
# atan t = t + t^3 * (ATAN[0] + ATAN[1] t^2 + ...), |t| <= 1
ATAN = tuple(
    map(
        float.fromhex,
        (
            "-0x1.555552p-2", "0x1.999824p-3", "-0x1.2476cap-3", "0x1.c51c64p-4", "-0x1.6982cep-4",
            "0x1.157f76p-4", "-0x1.71e1fep-5", "0x1.77a7b6p-6", "-0x1.eb74fcp-8", "0x1.2d64e0p-10",
        ),
    )
)  # fmt: skip
# asin t = t + t^3 * (ASIN[0] + ASIN[1] t^2 + ...), |t| <= 1/2
ASIN = tuple(
    map(
        float.fromhex,
        ("0x1.55554cp-3", "0x1.3338a8p-4", "0x1.6ca85ap-5", "0x1.04c7c0p-5", "0x1.d5e872p-7", "0x1.3478dep-5"),
    )
)


def atan(b: CodeBuilder, x: Register) -> Register:
    """Arctangent: of |x| > 1 a quarter turn less the arctangent of 1 / |x|."""
    one = b.float(1.0)
    size = b.fabs(x)
    is_large = b.flt(one, size)
    inverse = b.fdiv(one, size)
    # What the quotient lost, times the slope of the arctangent; of an infinite or huge |x| nothing that counts.
    lost = b.fdiv(b.ffma(b.fneg(inverse), size, one), b.fadd(size, inverse))
    lost = b.select(b.flt(size, b.float(2.0**60)), lost, b.float(0.0))
    t = b.select(is_large, inverse, size)
    square, third, lacking = cube(b, t)
    curve = polynomial(b, square, ATAN)
    near = b.fadd(t, b.ffma(third, curve, b.fmul(lacking, curve)))
    far = less_than_quarter_turn(b, t, b.ffma(third, curve, b.ffma(lacking, curve, lost)))
    value = with_sign_of(b, b.select(is_large, far, near), x)
    # Below 2^-13 atan x rounds to x or to the float beside it; subnormal numbers and zeros are themselves.
    value = b.select(b.ult(size, b.word(0x39000000)), x, value)
    return b.select(b.feq(x, x), value, b.word(0x7FC00000))


def less_than_quarter_turn(b: CodeBuilder, high: Register, low: Register) -> Register:
    """pi / 2 - (high + low), for high <= 1 and a small low."""
    turn, turn_low = (b.float(part) for part in HALF_PI)
    value = b.fsub(turn, high)
    error = b.fsub(b.fsub(turn, value), high)
    return b.fadd(value, b.fadd(error, b.fsub(turn_low, low)))


def atan2(b: CodeBuilder, y: Register, x: Register) -> Register:
    """The angle of the point (x, y), from -pi to pi; signs of zero and infinities as IEEE 754-2019, 9.2.1 has them."""
    zero, one, infinity = b.float(0.0), b.float(1.0), b.float(float("inf"))
    width, height = b.fabs(x), b.fabs(y)
    steep = b.flt(width, height)
    larger, smaller = b.select(steep, height, width), b.select(steep, width, height)
    # A power of two keeps what the quotient leaves from becoming subnormal, or the divisor from becoming infinite.
    scale = b.select(b.flt(larger, b.float(2.0**-40)), b.float(2.0**80), one)
    scale = b.select(b.flt(b.float(2.0**80), larger), b.float(0.25), scale)
    larger, smaller = b.fmul(larger, scale), b.fmul(smaller, scale)
    quotient = b.fdiv(smaller, larger)
    # What was lost, times the slope of the arctangent: rest / larger / (1 + quotient^2)
    rest = b.ffma(b.fneg(quotient), larger, smaller)
    lost = b.fdiv(rest, b.ffma(quotient, smaller, larger))
    both_infinite = b.feq(smaller, infinity)
    is_zero = b.feq(larger, zero)
    quotient = b.select(both_infinite, one, b.select(is_zero, zero, quotient))
    lost = b.select(b.or_(is_zero, b.feq(larger, infinity)), zero, lost)
    # THE ANGLE TO THE NEARER AXIS, as a sum of two floats
    square, third, lacking = cube(b, quotient)
    curve = polynomial(b, square, ATAN)
    low = b.ffma(third, curve, b.ffma(lacking, curve, lost))
    value = with_sign_of(b, from_axis(b, x, steep, quotient, low), y)
    numbers = b.and_(b.feq(x, x), b.feq(y, y))
    return b.select(numbers, value, b.word(0x7FC00000))


def from_axis(b: CodeBuilder, x: Register, steep: Register, high: Register, low: Register) -> Register:
    """The angle to the positive x axis, given that to the nearer axis: 1/2 pi -+ it, or pi - it."""
    turn, turn_low = (b.select(steep, b.float(part), b.float(2 * part)) for part in HALF_PI)
    behind = b.lshr(x, b.word(31))
    adds = b.shl(b.isub(b.word(1), b.and_(steep, behind)), b.word(31))  # the sign bit where it is subtracted
    moved = b.xor(high, adds)
    value = b.fadd(turn, moved)
    error = b.fadd(b.fsub(turn, value), moved)
    far = b.fadd(value, b.fadd(error, b.fadd(turn_low, b.xor(low, adds))))
    return b.select(b.or_(steep, behind), far, b.fadd(high, low))


def asin(b: CodeBuilder, x: Register) -> Register:
    """Arcsine: of |x| > 1/2 a quarter turn less twice the arcsine of sqrt((1 - |x|) / 2)."""
    size = b.fabs(x)
    is_large = b.flt(b.float(0.5), size)
    root, lost, square = half_angle(b, size)
    t = b.select(is_large, root, size)
    square = b.select(is_large, square, b.fmul(size, size))
    tail = b.fmul(b.fmul(t, square), polynomial(b, square, ASIN))
    near = b.fadd(t, tail)
    two = b.float(2.0)
    far = less_than_quarter_turn(b, b.fmul(two, t), b.fmul(two, b.fadd(tail, lost)))
    value = with_sign_of(b, b.select(is_large, far, near), x)
    value = b.select(b.ult(size, b.word(0x39000000)), x, value)
    return b.select(b.fle(size, b.float(1.0)), value, b.word(0x7FC00000))


def acos(b: CodeBuilder, x: Register) -> Register:
    """Arccosine: of |x| > 1/2 twice the arcsine of sqrt((1 - |x|) / 2), or half a turn less that."""
    size = b.fabs(x)
    is_large = b.flt(b.float(0.5), size)
    root, lost, square = half_angle(b, size)
    two = b.float(2.0)
    # NEAR ZERO
    own_square = b.fmul(x, x)
    own_tail = b.fmul(b.fmul(x, own_square), polynomial(b, own_square, ASIN))
    near = less_than_quarter_turn(b, x, own_tail)
    # NEAR ONE, AND MINUS ONE
    tail = b.ffma(b.fmul(root, square), polynomial(b, square, ASIN), lost)
    right = b.fmul(two, b.fadd(root, tail))
    left = b.fmul(two, less_than_quarter_turn(b, root, tail))
    far = b.select(b.flt(x, b.float(0.0)), left, right)
    value = b.select(is_large, far, near)
    return b.select(b.fle(size, b.float(1.0)), value, b.word(0x7FC00000))


def half_angle(b: CodeBuilder, size: Register) -> tuple[Register, Register, Register]:
    """sqrt((1 - |x|) / 2) as a sum of two floats, and its square, which is exact for |x| >= 1/2."""
    square = b.ffma(size, b.float(-0.5), b.float(0.5))
    root = b.fsqrt(square)
    rest = b.ffma(b.fneg(root), root, square)
    lost = b.fdiv(rest, b.fadd(root, root))
    # Of 1 the root is 0, and so is what it lost.
    return root, b.select(b.feq(root, b.float(0.0)), b.float(0.0), lost), square
