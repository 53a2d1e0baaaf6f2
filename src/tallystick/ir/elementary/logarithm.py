"""Logarithms: x = 2^e * (1 + f) with f in [sqrt(1/2) - 1, sqrt(2) - 1), then a polynomial in f.

Coefficients come from ``tools/fit_logarithm_power_trigonometric.py``. Errors over all inputs are in the reference page
of the documentation.
"""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.ir.builder import CodeBuilder, Register
from tallystick.ir.elementary.reduction import polynomial

SQRT_HALF = 0x3F3504F3  # the float just below sqrt(1/2)
NAN = 0x7FC00000
INFINITY = 0x7F800000
SMALLEST_NORMAL = 0x00800000

# log(1 + f) = f - f^2 / 2 + f^3 * (LOG[0] + LOG[1] f + ...)
LOG = tuple(
    float.fromhex(c)
    for c in (
        "0x1.555554p-2", "-0x1.000226p-2", "0x1.99a01ep-3", "-0x1.54728cp-3",
        "0x1.22d8f8p-3", "-0x1.0d81f2p-3", "0x1.05602ep-3", "-0x1.38cf20p-4",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Base:
    """log_b(2) and log_b(e), each as a sum of two floats. ``two_high`` has 12 trailing zeros: times e it is exact."""

    two_high: float
    two_low: float
    e_high: float
    e_low: float


NATURAL = Base(float.fromhex("0x1.62ep-1"), float.fromhex("0x1.0bfbe8p-15"), 1.0, 0.0)
BINARY = Base(1.0, 0.0, float.fromhex("0x1.715476p+0"), float.fromhex("0x1.4ae0c0p-26"))
DECIMAL = Base(
    float.fromhex("0x1.344p-2"), float.fromhex("0x1.3509f8p-18"),
    float.fromhex("0x1.bcb7b2p-2"), float.fromhex("-0x1.5b235ep-27"),
)  # fmt: skip


def log(b: CodeBuilder, x: Register) -> Register:
    """Natural logarithm, within 1 ulp."""
    e, f = exponent_and_fraction(b, normalised(b, x), normalisation(b, x))
    return special_cases(b, x, combine(b, NATURAL, e, f, curvature(b, f, b.float(0.0))))


def log2(b: CodeBuilder, x: Register) -> Register:
    """Logarithm to base 2, within 1 ulp; exact for powers of two."""
    return scaled(b, x, BINARY)


def log10(b: CodeBuilder, x: Register) -> Register:
    """Logarithm to base 10, within 1 ulp."""
    return scaled(b, x, DECIMAL)


def log1p(b: CodeBuilder, x: Register) -> Register:
    """log(1 + x), within 1 ulp: the rounding error of 1 + x is put back as a correction of the fraction."""
    one = b.float(1.0)
    # TWO SUM
    u = b.fadd(one, x)
    back = b.fsub(u, one)
    error = b.fadd(b.fsub(x, back), b.fsub(one, b.fsub(u, back)))
    e, f = exponent_and_fraction(b, u, b.word(0))
    # 2^-e scales the error as it scaled u; e < -24 happens only where the error is 0, e > 126 only where it is nothing.
    scale = b.isub(b.word(0x3F800000), b.shl(e_clamped(b, e), b.word(23)))
    correction = b.fmul(error, scale)
    # log(1 + f + c) = log(1 + f) + c / (1 + f)
    tail = curvature(b, f, b.fdiv(correction, b.fadd(one, f)))
    result = special_cases(b, u, combine(b, NATURAL, e, f, tail))
    # Below 2^-25 the result is x itself, which also keeps the sign of zero and subnormal numbers.
    tiny = b.ult(b.fabs(x), b.word(0x33000000))
    infinite = b.ieq(x, b.word(INFINITY))
    return b.select(b.or_(tiny, infinite), x, result)


def e_clamped(b: CodeBuilder, e: Register) -> Register:
    """At most 126, so that 2^-e is a normal number."""
    most = b.word(126)
    return b.select(b.ilt(e, most), e, most)


# ARGUMENT REDUCTION
def is_small(b: CodeBuilder, x: Register) -> Register:
    return b.ult(x, b.word(SMALLEST_NORMAL))


def normalised(b: CodeBuilder, x: Register) -> Register:
    """x, a positive subnormal x times 2^23."""
    return b.select(is_small(b, x), b.fmul(x, b.float(2.0**23)), x)


def normalisation(b: CodeBuilder, x: Register) -> Register:
    """What `normalised` added to the exponent."""
    return b.select(is_small(b, x), b.word(23), b.word(0))


def exponent_and_fraction(b: CodeBuilder, x: Register, added: Register) -> tuple[Register, Register]:
    """e (an integer) and f (a float) with x = 2^(e + added) * (1 + f)."""
    e = b.ashr(b.isub(x, b.word(SQRT_HALF)), b.word(23))
    mantissa = b.isub(x, b.shl(e, b.word(23)))
    return b.isub(e, added), b.fsub(mantissa, b.float(1.0))


# RECONSTRUCTION
def curvature(b: CodeBuilder, f: Register, extra: Register) -> Register:
    """log(1 + f) - f + extra."""
    square = b.fmul(f, f)
    quadratic = b.ffma(square, b.float(-0.5), extra)
    return b.ffma(b.fmul(f, square), polynomial(b, f, LOG), quadratic)


def combine(b: CodeBuilder, base: Base, e: Register, head: Register, tail: Register) -> Register:
    """e * log_b(2) + head + tail, rounded nearly once: |tail| is small against the sum of the rest."""
    exponent = b.i2f(e)
    large = b.fmul(exponent, b.float(base.two_high))
    high = b.fadd(large, head)
    low = b.fsub(head, b.fsub(high, large))  # exact: where e is not 0, |large| is not less than |head|
    return b.fadd(high, b.fadd(low, b.ffma(exponent, b.float(base.two_low), tail)))


def scaled(b: CodeBuilder, x: Register, base: Base) -> Register:
    """The logarithm to a base, from the fraction's natural logarithm times log_b(e) in two floats."""
    e, f = exponent_and_fraction(b, normalised(b, x), normalisation(b, x))
    # QUADRATIC: f - f^2 / 2 as a sum of two floats
    square = b.fmul(f, f)
    quadratic = b.ffma(square, b.float(-0.5), f)
    lost = b.ffma(square, b.float(-0.5), b.fsub(f, quadratic))
    lost = b.ffma(b.ffma(f, f, b.fneg(square)), b.float(-0.5), lost)
    tail = b.ffma(b.fmul(f, square), polynomial(b, f, LOG), lost)
    # TIMES log_b(e)
    high = b.float(base.e_high)
    head = b.fmul(quadratic, high)
    rest = b.ffma(quadratic, high, b.fneg(head))
    rest = b.ffma(quadratic, b.float(base.e_low), rest)
    return special_cases(b, x, combine(b, base, e, head, b.ffma(tail, high, rest)))


def special_cases(b: CodeBuilder, x: Register, result: Register) -> Register:
    """log(+-0) = -infinity, log(infinity) = infinity, NaN for negative numbers and NaN."""
    finite = b.select(b.ieq(b.fabs(x), b.word(0)), b.word(0xFF800000), result)
    ordinary = b.ult(x, b.word(INFINITY))
    zero_or_ordinary = b.or_(ordinary, b.ieq(x, b.word(0x80000000)))
    odd = b.select(b.ieq(x, b.word(INFINITY)), x, b.word(NAN))
    return b.select(zero_or_ordinary, finite, odd)
