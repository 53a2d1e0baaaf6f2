# pragma version ~=0.4.3
"""
@title IEEE-754 binary32 arithmetic on integer bit patterns
@license Apache-2.0
@notice
    A mirror of `tallystick/spec/float32.py`: the same functions in the same order, under the same headings.

    A float is the integer of its 32 bits. Every result is rounded once, to nearest, ties to even; subnormals are kept; a
    NaN result is always 0x7fc00000. A finite float is read as (-1)**sign * significand * 2**exponent with an integer
    significand below 2**24.

    Two things differ in form. Exponents are carried with ORIGIN added, so that none is negative. And sums, differences
    and products of parts are unchecked: no significand reaches 2**255 and no exponent 2**12, as the definition shows.
"""

import bits

MASK: constant(uint256) = 2**32 - 1
SIGN: constant(uint256) = 2**31
MAGNITUDE: constant(uint256) = 2**31 - 1
INFINITY: constant(uint256) = 255 * 2**23
NAN: constant(uint256) = 511 * 2**22
ONE: constant(uint256) = 127 * 2**23
FRACTION: constant(uint256) = 2**23 - 1
HIDDEN: constant(uint256) = 2**23
TOO_LARGE: constant(uint256) = 158 * 2**23  # 2**31, which no int32 reaches

ORIGIN: constant(uint256) = 1024  # what an exponent of 0 is carried as; even, so that it can be halved
BIAS: constant(uint256) = ORIGIN - 150  # from the exponent field of a normal to its exponent

DIGITS: constant(uint256) = 24  # of a significand
LOWEST: constant(uint256) = ORIGIN - 149  # exponent of the smallest subnormal, and of every subnormal's last digit

HALF_DIGITS: constant(uint256) = 11  # the same three for binary16
HALF_LOWEST: constant(uint256) = ORIGIN - 24
HALF_INFINITY: constant(uint256) = 31 * 2**10
HALF_NAN: constant(uint256) = 63 * 2**9

FAR: constant(uint256) = 128  # operands whose exponents differ by more cannot both reach into the digits kept


# PARTS


@internal
@pure
def is_nan(a: uint256) -> bool:
    return a & MAGNITUDE > INFINITY


@internal
@pure
def is_infinite(a: uint256) -> bool:
    return a & MAGNITUDE == INFINITY


@internal
@pure
def is_zero(a: uint256) -> bool:
    return a & MAGNITUDE == 0


@internal
@pure
def canonical(a: uint256) -> uint256:
    """
    @notice The word itself, or the one canonical NaN for every NaN.
    """
    return NAN if a & MAGNITUDE > INFINITY else a


@internal
@pure
def unpack(a: uint256) -> (uint256, uint256):
    """
    @notice Significand and exponent of a finite float.
    """
    biased: uint256 = (a >> 23) & 255
    if biased == 0:
        return a & FRACTION, LOWEST
    return a & FRACTION | HIDDEN, unsafe_add(biased, BIAS)


@internal
@pure
def shift_right_nearest(significand: uint256, places: uint256) -> uint256:
    """
    @notice significand / 2**places as an integer, to nearest, ties to even. Needs 0 < places, significand < 2**254.
    """
    s: uint256 = min(places, 255)  # beyond, everything is below one half
    kept: uint256 = significand >> s
    lost: uint256 = unsafe_sub(significand, kept << s)
    half: uint256 = 1 << unsafe_sub(s, 1)
    if lost > half or (lost == half and kept & 1 == 1):
        kept = unsafe_add(kept, 1)
    return kept


@internal
@pure
def round_and_pack(
    significand: uint256, exponent: uint256, digits: uint256, lowest: uint256, infinity: uint256
) -> uint256:
    """
    @notice The bits, without the sign, of the float nearest to significand * 2**exponent.
    @dev The format is given by the digits of its significand, the exponent of its smallest subnormal and its infinity.
    """
    if significand == 0:
        return 0
    # ROUND
    # The exponent of the last digit kept.
    last: uint256 = max(unsafe_sub(unsafe_add(exponent, bits.bit_length(significand)), digits), lowest)
    kept: uint256 = 0
    if last > exponent:
        kept = self.shift_right_nearest(significand, unsafe_sub(last, exponent))
    else:
        kept = significand << unsafe_sub(exponent, last)
    # PACK
    # A normal's hidden bit adds one to the exponent field, and so does the carry of a significand that rounded up to
    # the next power of two: adding, not masking, gives both their right encoding.
    return min(unsafe_add(unsafe_sub(last, lowest) << unsafe_sub(digits, 1), kept), infinity)


@internal
@pure
def pack(sign: uint256, significand: uint256, exponent: uint256) -> uint256:
    """
    @notice The binary32 nearest to (-1)**sign * significand * 2**exponent.
    """
    return sign << 31 | self.round_and_pack(significand, exponent, DIGITS, LOWEST, INFINITY)


# ARITHMETIC


@internal
@pure
def fma(a: uint256, b: uint256, c: uint256) -> uint256:
    """
    @notice a * b + c, rounded once.
    """
    if a & MAGNITUDE > INFINITY or b & MAGNITUDE > INFINITY or c & MAGNITUDE > INFINITY:
        return NAN
    sign: uint256 = (a ^ b) >> 31
    if a & MAGNITUDE == INFINITY or b & MAGNITUDE == INFINITY:
        if self.is_zero(a) or self.is_zero(b) or (self.is_infinite(c) and c >> 31 != sign):
            return NAN
        return sign << 31 | INFINITY
    if c & MAGNITUDE == INFINITY:
        return c
    # UNPACK
    significand_a: uint256 = 0
    exponent_a: uint256 = 0
    significand_a, exponent_a = self.unpack(a)
    significand_b: uint256 = 0
    exponent_b: uint256 = 0
    significand_b, exponent_b = self.unpack(b)
    sign_c: uint256 = c >> 31
    addend: uint256 = 0
    exponent_c: uint256 = 0
    addend, exponent_c = self.unpack(c)
    # MULTIPLY
    product: uint256 = unsafe_mul(significand_a, significand_b)
    exponent: uint256 = unsafe_sub(unsafe_add(exponent_a, exponent_b), ORIGIN)
    if product == 0:
        if addend == 0:
            return sign << 31 if sign == sign_c else 0
        return c
    # ALIGN
    # Where one operand lies far below the other's last digit, any non-zero value there rounds alike: 1 stands for it.
    if addend == 0:
        pass
    elif exponent > unsafe_add(exponent_c, FAR):
        product = product << FAR
        addend = 1
        exponent = unsafe_sub(exponent, FAR)
    elif exponent_c > unsafe_add(exponent, FAR):
        product = 1
        addend = addend << FAR
        exponent = unsafe_sub(exponent_c, FAR)
    elif exponent >= exponent_c:
        product = product << unsafe_sub(exponent, exponent_c)
        exponent = exponent_c
    else:
        addend = addend << unsafe_sub(exponent_c, exponent)
    # ADD
    if sign == sign_c:
        return self.pack(sign, unsafe_add(product, addend), exponent)
    if product == addend:
        return 0
    if product > addend:
        return self.pack(sign, unsafe_sub(product, addend), exponent)
    return self.pack(sign_c, unsafe_sub(addend, product), exponent)


@internal
@pure
def add(a: uint256, b: uint256) -> uint256:
    """
    @notice a + b. One times a is exact, and keeps the sign of a zero.
    """
    return self.fma(a, ONE, b)


@internal
@pure
def sub(a: uint256, b: uint256) -> uint256:
    """
    @notice a - b.
    """
    return self.fma(a, ONE, b ^ SIGN)


@internal
@pure
def mul(a: uint256, b: uint256) -> uint256:
    """
    @notice a * b. The zero added has the product's sign, so that it changes nothing.
    """
    return self.fma(a, b, (a ^ b) & SIGN)


@internal
@pure
def div(a: uint256, b: uint256) -> uint256:
    """
    @notice a / b.
    """
    if self.is_nan(a) or self.is_nan(b):
        return NAN
    sign: uint256 = (a ^ b) >> 31
    if self.is_infinite(a) or self.is_zero(b):
        if self.is_infinite(b) or self.is_zero(a):
            return NAN
        return sign << 31 | INFINITY
    if self.is_infinite(b) or self.is_zero(a):
        return sign << 31
    # UNPACK
    dividend: uint256 = 0
    exponent_a: uint256 = 0
    dividend, exponent_a = self.unpack(a)
    divisor: uint256 = 0
    exponent_b: uint256 = 0
    divisor, exponent_b = self.unpack(b)
    # DIVIDE
    # 64 more digits leave at least 40 in the quotient; what lies below them only says on which side of a tie it is.
    quotient: uint256 = unsafe_div(dividend << 64, divisor)
    sticky: uint256 = 1 if unsafe_mul(quotient, divisor) != dividend << 64 else 0
    return self.pack(sign, quotient << 1 | sticky, unsafe_sub(unsafe_add(exponent_a, ORIGIN - 65), exponent_b))


@internal
@pure
def sqrt(a: uint256) -> uint256:
    """
    @notice The square root of a; NaN below zero, and -0 of -0.
    """
    if self.is_nan(a) or (a >> 31 == 1 and not self.is_zero(a)):
        return NAN
    if self.is_infinite(a) or self.is_zero(a):
        return a
    # UNPACK
    significand: uint256 = 0
    exponent: uint256 = 0
    significand, exponent = self.unpack(a)
    # ROOT
    # The exponent is made even; 64 more digits leave at least 32 in the root.
    significand = significand << unsafe_add(64, exponent & 1)
    exponent = unsafe_sub(exponent, unsafe_add(64, exponent & 1))
    root: uint256 = isqrt(significand)
    sticky: uint256 = 1 if unsafe_mul(root, root) != significand else 0
    return self.pack(0, root << 1 | sticky, unsafe_add(exponent >> 1, ORIGIN // 2 - 1))


# COMPARISONS


@internal
@pure
def order(a: uint256) -> uint256:
    """
    @notice A number that orders as the float does; both zeros give SIGN.
    """
    return unsafe_sub(SIGN, a & MAGNITUDE) if a >> 31 == 1 else a | SIGN


@internal
@pure
def less(a: uint256, b: uint256) -> uint256:
    """
    @notice 1 if a < b else 0; 0 on NaN.
    """
    return 1 if not self.is_nan(a) and not self.is_nan(b) and self.order(a) < self.order(b) else 0


@internal
@pure
def less_equal(a: uint256, b: uint256) -> uint256:
    """
    @notice 1 if a <= b else 0; 0 on NaN.
    """
    return 1 if not self.is_nan(a) and not self.is_nan(b) and self.order(a) <= self.order(b) else 0


@internal
@pure
def equal(a: uint256, b: uint256) -> uint256:
    """
    @notice 1 if a == b else 0; 0 on NaN, 1 on zeros of either sign.
    """
    return 1 if not self.is_nan(a) and not self.is_nan(b) and self.order(a) == self.order(b) else 0


# CONVERSIONS


@internal
@pure
def rint(a: uint256) -> uint256:
    """
    @notice The nearest integral value, ties to even; the sign is kept, that of a zero too.
    """
    if self.is_nan(a):
        return NAN
    if self.is_infinite(a):
        return a
    significand: uint256 = 0
    exponent: uint256 = 0
    significand, exponent = self.unpack(a)
    if exponent >= ORIGIN:
        return a
    return self.pack(a >> 31, self.shift_right_nearest(significand, unsafe_sub(ORIGIN, exponent)), ORIGIN)


@internal
@pure
def to_int(a: uint256) -> uint256:
    """
    @notice The int32 word of a truncated towards zero; saturates, and NaN gives 0.
    """
    if self.is_nan(a):
        return 0
    if a & MAGNITUDE >= TOO_LARGE:  # infinities too
        return SIGN if a >> 31 == 1 else SIGN - 1
    significand: uint256 = 0
    exponent: uint256 = 0
    significand, exponent = self.unpack(a)
    magnitude: uint256 = 0
    if exponent >= ORIGIN:
        magnitude = significand << unsafe_sub(exponent, ORIGIN)
    else:
        magnitude = significand >> unsafe_sub(ORIGIN, exponent)
    return unsafe_sub(0, magnitude) & MASK if a >> 31 == 1 else magnitude


@internal
@pure
def from_int(a: uint256) -> uint256:
    """
    @notice The float nearest to an int32 word.
    """
    sign: uint256 = a >> 31
    return self.pack(sign, unsafe_sub(2**32, a) if sign == 1 else a, ORIGIN)


@internal
@pure
def from_bfloat16(half: uint256) -> uint256:
    """
    @notice A bfloat16 widened exactly: it is the upper half of a binary32.
    """
    return self.canonical(half << 16)


@internal
@pure
def to_bfloat16(a: uint256) -> uint256:
    """
    @notice The nearest bfloat16, ties to even; NaN gives 0x7fc0.
    """
    if self.is_nan(a):
        return NAN >> 16
    return self.shift_right_nearest(a, 16)


@internal
@pure
def from_float16(half: uint256) -> uint256:
    """
    @notice A binary16 widened exactly.
    """
    sign: uint256 = half >> 15
    biased: uint256 = (half >> 10) & 31
    fraction: uint256 = half & 1023
    if biased == 31:
        return NAN if fraction != 0 else sign << 31 | INFINITY
    if biased == 0:
        return self.pack(sign, fraction, HALF_LOWEST)
    return self.pack(sign, fraction | 1024, unsafe_add(biased, ORIGIN - 25))


@internal
@pure
def to_float16(a: uint256) -> uint256:
    """
    @notice The nearest binary16, ties to even; NaN gives 0x7e00.
    """
    if self.is_nan(a):
        return HALF_NAN
    sign: uint256 = a >> 31
    if self.is_infinite(a):
        return sign << 15 | HALF_INFINITY
    significand: uint256 = 0
    exponent: uint256 = 0
    significand, exponent = self.unpack(a)
    return sign << 15 | self.round_and_pack(significand, exponent, HALF_DIGITS, HALF_LOWEST, HALF_INFINITY)
