"""erf, the error function: at most 1 ulp from the exact value, for every float."""

from __future__ import annotations

from tallystick.ir.builder import CodeBuilder, Register
from tallystick.ir.elementary.exponential import EXP2
from tallystick.ir.elementary.reduction import ROUNDER, at_most, exponent_field, polynomial, with_sign_of

NEAR_LIMIT = 0.85
NEAR = (
    0.12837916612625122,
    -0.37612590193748474,
    0.11282864958047867,
    -0.026807287707924843,
    0.0050577037036418915,
    -0.0006348518654704094,
)
CENTRE = 1.0847870111465454  # erfc is 1/8 here
FAR = (
    -4.014745235443115,
    -1.2309821844100952,
    -0.0552394799888134,
    0.013207309879362583,
    -0.002551799872890115,
    0.00030140826129354537,
)


def erf(b: CodeBuilder, x: Register) -> Register:
    """The error function: an odd polynomial near 0, else 1 - 2^p(|x|) with a polynomial p."""
    # NEAR ZERO
    near = b.ffma(x, polynomial(b, b.fmul(x, x), NEAR), x)
    # FAR
    size = b.fabs(x)
    bounded = at_most(b, size, 4.0)
    distance = b.fsub(bounded, b.float(CENTRE))
    slope = polynomial(b, distance, FAR)  # log2(erfc) = -3 + distance * slope
    rounder = b.float(ROUNDER - 3)
    total = b.ffma(distance, slope, rounder)
    r = b.ffma(distance, slope, b.fsub(rounder, total))
    complement = b.iadd(polynomial(b, r, EXP2), exponent_field(b, total))
    far = b.fsub(b.float(1.0), complement)
    return b.select(b.fle(b.float(NEAR_LIMIT), size), with_sign_of(b, far, x), near)
