"""Powers and reciprocal square roots."""

from __future__ import annotations

from tallystick.ir.builder import CodeBuilder, Register


def rsqrt(b: CodeBuilder, x: Register) -> Register:
    """1 / sqrt(x), within 1 ulp; infinity of the sign of a zero, NaN for negative numbers.

    The square root is rounded to s, so x = s * s + r with a small r, and 1 / sqrt(x) = 1/s - r / (2 s^3) nearly.
    """
    one = b.float(1.0)
    # Where r would lose bits to the bottom of the range, x is scaled by 2^24 and the result by 2^12.
    small = b.ult(b.fabs(x), b.word(0x0F800000))
    scaled = b.select(small, b.fmul(x, b.float(2.0**24)), x)
    root = b.fsqrt(scaled)
    inverse = b.fdiv(one, root)
    # CORRECTION: y + y * (1 - (x * y) * y) / 2, with x * y taken as root to stay exact enough
    remainder = b.ffma(b.fneg(root), root, scaled)
    error = b.ffma(b.fneg(root), inverse, one)
    error = b.ffma(b.fmul(remainder, inverse), b.fmul(inverse, b.float(-0.5)), error)
    corrected = b.ffma(inverse, error, inverse)
    ordinary = b.ult(b.isub(scaled, b.word(0x00800000)), b.word(0x7F800000 - 0x00800000))
    chosen = b.select(ordinary, corrected, inverse)
    return b.select(small, b.fmul(chosen, b.float(2.0**12)), chosen)
