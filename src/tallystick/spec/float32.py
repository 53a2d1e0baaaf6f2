"""IEEE-754 binary32 arithmetic on integer bit patterns.

A float is the integer of its 32 bits; no Python float appears here. Every result is rounded once, to nearest, ties to
even; subnormals are kept; a NaN result is always ``0x7fc00000``. No intermediate needs more than 256 bits, so a
contract can mirror this file function by function, with the same headings in the same order.

A finite float is read as ``(-1)**sign * significand * 2**exponent`` with an integer significand below 2**24.

Source: IEEE 754-2019, clauses 3.4 (encodings), 4.3.1 (rounding), 5.4.1 (arithmetic), 6.1 to 6.3 (infinity, NaN, sign).
"""

from __future__ import annotations

from math import isqrt

MASK = 0xFFFFFFFF
SIGN = 0x80000000
INFINITY = 0x7F800000
NAN = 0x7FC00000
ONE = 0x3F800000
FRACTION = 0x007FFFFF
HIDDEN = 0x00800000

DIGITS = 24  # of a significand
LOWEST = -149  # exponent of the smallest subnormal, and of the last digit of every subnormal

HALF_DIGITS = 11  # the same three for binary16
HALF_LOWEST = -24
HALF_INFINITY = 0x7C00

FAR = 128  # operands whose exponents differ by more cannot both reach into the digits kept


# PARTS


def is_nan(a: int) -> bool:
    return a & ~SIGN > INFINITY


def is_infinite(a: int) -> bool:
    return a & ~SIGN == INFINITY


def is_zero(a: int) -> bool:
    return a & ~SIGN == 0


def canonical(a: int) -> int:
    """The word itself, or the one canonical NaN for every NaN."""
    return NAN if is_nan(a) else a


def unpack(a: int) -> tuple[int, int, int]:
    """Sign, significand and exponent of a finite float."""
    biased = (a >> 23) & 0xFF
    if biased == 0:
        return a >> 31, a & FRACTION, LOWEST
    return a >> 31, a & FRACTION | HIDDEN, biased - 150


def shift_right_nearest(significand: int, shift: int) -> int:
    """significand / 2**shift as an integer, to nearest, ties to even. Needs significand < 2**254."""
    if shift <= 0:
        return significand << -shift
    shift = min(shift, 255)  # beyond, everything is below one half
    kept = significand >> shift
    lost = significand & ((1 << shift) - 1)
    half = 1 << (shift - 1)
    if lost > half or (lost == half and kept & 1):
        kept += 1
    return kept


def round_and_pack(significand: int, exponent: int, digits: int, lowest: int, infinity: int) -> int:
    """The bits, without the sign, of the float nearest to significand * 2**exponent.

    The format is given by the digits of its significand, the exponent of its smallest subnormal and its infinity.
    """
    if significand == 0:
        return 0
    # ROUND
    last = max(exponent + significand.bit_length() - digits, lowest)  # exponent of the last digit kept
    kept = shift_right_nearest(significand, last - exponent)
    # PACK
    # A normal's hidden bit adds one to the exponent field, and so does the carry of a significand that rounded up to
    # the next power of two: adding, not masking, gives both their right encoding.
    return min(((last - lowest) << (digits - 1)) + kept, infinity)


def pack(sign: int, significand: int, exponent: int) -> int:
    """The binary32 nearest to (-1)**sign * significand * 2**exponent."""
    return sign << 31 | round_and_pack(significand, exponent, DIGITS, LOWEST, INFINITY)


# ARITHMETIC


def fma(a: int, b: int, c: int) -> int:
    """a * b + c, rounded once."""
    if is_nan(a) or is_nan(b) or is_nan(c):
        return NAN
    sign = (a ^ b) >> 31
    if is_infinite(a) or is_infinite(b):
        if is_zero(a) or is_zero(b) or (is_infinite(c) and c >> 31 != sign):
            return NAN
        return sign << 31 | INFINITY
    if is_infinite(c):
        return c
    # UNPACK
    _, significand_a, exponent_a = unpack(a)
    _, significand_b, exponent_b = unpack(b)
    sign_c, addend, exponent_c = unpack(c)
    # MULTIPLY
    product = significand_a * significand_b
    exponent = exponent_a + exponent_b
    if product == 0 and addend == 0:
        return sign << 31 if sign == sign_c else 0
    if product == 0:
        return c
    # ALIGN
    # Where one operand lies far below the other's last digit, any non-zero value there rounds alike: 1 stands for it.
    if addend == 0:
        pass
    elif exponent - exponent_c > FAR:
        product, addend, exponent = product << FAR, 1, exponent - FAR
    elif exponent_c - exponent > FAR:
        product, addend, exponent = 1, addend << FAR, exponent_c - FAR
    elif exponent >= exponent_c:
        product, exponent = product << (exponent - exponent_c), exponent_c
    else:
        addend = addend << (exponent_c - exponent)
    # ADD
    if sign == sign_c:
        return pack(sign, product + addend, exponent)
    if product == addend:
        return 0
    if product > addend:
        return pack(sign, product - addend, exponent)
    return pack(sign_c, addend - product, exponent)


def add(a: int, b: int) -> int:
    """a + b. One times a is exact, and keeps the sign of a zero."""
    return fma(a, ONE, b)


def sub(a: int, b: int) -> int:
    """a - b."""
    return fma(a, ONE, b ^ SIGN)


def mul(a: int, b: int) -> int:
    """a * b. The zero added has the product's sign, so that it changes nothing."""
    return fma(a, b, (a ^ b) & SIGN)


def div(a: int, b: int) -> int:
    """a / b."""
    if is_nan(a) or is_nan(b):
        return NAN
    sign = (a ^ b) >> 31
    if is_infinite(a) or is_zero(b):
        if is_infinite(b) or is_zero(a):
            return NAN
        return sign << 31 | INFINITY
    if is_infinite(b) or is_zero(a):
        return sign << 31
    # UNPACK
    _, dividend, exponent_a = unpack(a)
    _, divisor, exponent_b = unpack(b)
    # DIVIDE
    # 64 more digits leave at least 40 in the quotient; what lies below them only says on which side of a tie it is.
    quotient = (dividend << 64) // divisor
    sticky = int((dividend << 64) % divisor != 0)
    return pack(sign, quotient << 1 | sticky, exponent_a - exponent_b - 65)


def sqrt(a: int) -> int:
    """The square root of a; NaN below zero, and -0 of -0."""
    if is_nan(a) or (a >> 31 and not is_zero(a)):
        return NAN
    if is_infinite(a) or is_zero(a):
        return a
    # UNPACK
    _, significand, exponent = unpack(a)
    # ROOT
    # The exponent is made even; 64 more digits leave at least 32 in the root.
    significand, exponent = significand << (64 + exponent % 2), exponent - 64 - exponent % 2
    root = isqrt(significand)
    sticky = int(root * root != significand)
    return pack(0, root << 1 | sticky, exponent // 2 - 1)


# COMPARISONS


def order(a: int) -> int:
    """An integer that orders as the float does; both zeros give 0."""
    magnitude = a & ~SIGN
    return -magnitude if a >> 31 else magnitude


def less(a: int, b: int) -> int:
    """1 if a < b else 0; 0 on NaN."""
    return int(not is_nan(a) and not is_nan(b) and order(a) < order(b))


def less_equal(a: int, b: int) -> int:
    """1 if a <= b else 0; 0 on NaN."""
    return int(not is_nan(a) and not is_nan(b) and order(a) <= order(b))


def equal(a: int, b: int) -> int:
    """1 if a == b else 0; 0 on NaN, 1 on zeros of either sign."""
    return int(not is_nan(a) and not is_nan(b) and order(a) == order(b))


# CONVERSIONS


def rint(a: int) -> int:
    """The nearest integral value, ties to even; the sign is kept, that of a zero too."""
    if is_nan(a):
        return NAN
    if is_infinite(a):
        return a
    sign, significand, exponent = unpack(a)
    if exponent >= 0:
        return a
    return pack(sign, shift_right_nearest(significand, -exponent), 0)


def to_int(a: int) -> int:
    """The int32 word of a truncated towards zero; saturates, and NaN gives 0."""
    if is_nan(a):
        return 0
    sign = a >> 31
    if a & ~SIGN >= 0x4F000000:  # magnitudes of 2**31 and more, infinities too
        return SIGN if sign else SIGN - 1
    _, significand, exponent = unpack(a)
    magnitude = significand << exponent if exponent >= 0 else significand >> -exponent
    return -magnitude & MASK if sign else magnitude


def from_int(a: int) -> int:
    """The float nearest to an int32 word."""
    sign = a >> 31
    return pack(sign, (1 << 32) - a if sign else a, 0)


def from_bfloat16(bits: int) -> int:
    """A bfloat16 widened exactly: it is the upper half of a binary32."""
    return canonical(bits << 16)


def to_bfloat16(a: int) -> int:
    """The nearest bfloat16, ties to even; NaN gives 0x7fc0."""
    if is_nan(a):
        return NAN >> 16
    return shift_right_nearest(a, 16)


def from_float16(bits: int) -> int:
    """A binary16 widened exactly."""
    sign, biased, fraction = bits >> 15, (bits >> 10) & 0x1F, bits & 0x3FF
    if biased == 0x1F:
        return NAN if fraction else sign << 31 | INFINITY
    if biased == 0:
        return pack(sign, fraction, HALF_LOWEST)
    return pack(sign, fraction | 0x400, biased - 25)


def to_float16(a: int) -> int:
    """The nearest binary16, ties to even; NaN gives 0x7e00."""
    if is_nan(a):
        return 0x7E00
    sign = a >> 31
    if is_infinite(a):
        return sign << 15 | HALF_INFINITY
    _, significand, exponent = unpack(a)
    return sign << 15 | round_and_pack(significand, exponent, HALF_DIGITS, HALF_LOWEST, HALF_INFINITY)
