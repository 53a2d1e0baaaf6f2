"""erf, the error function: at most 1 ulp from the exact value, for every float."""

from __future__ import annotations

from tallystick.ir.builder import CodeBuilder, Register
from tallystick.ir.elementary.reduction import ROUNDER, at_most, exponent_field, polynomial, with_sign_of

NEAR_LIMIT = 0.8
NEAR = (
    0.12837916612625122,
    -0.3761261999607086,
    0.11283379048109055,
    -0.026834335178136826,
    0.005113156978040934,
    -0.0006737582734785974,
)
FAR = (
    -1.6281317472457886,
    -0.9170454740524292,
    -0.1519976258277893,
    0.03311234340071678,
    -0.004666374064981937,
    0.00031217592186294496,
)
EXP2 = (
    1.0,
    0.6931471824645996,
    0.24022647738456726,
    0.05550359562039375,
    0.009618500247597694,
    0.0013390975072979927,
    0.00015328804147429764,
)


def erf(b: CodeBuilder, x: Register) -> Register:
    """The error function: an odd polynomial near 0, else 1 - 2^(|x| p(|x|)) with a polynomial p."""
    # NEAR ZERO
    near = b.ffma(x, polynomial(b, b.fmul(x, x), NEAR), x)
    # FAR
    size = b.fabs(x)
    bounded = at_most(b, size, 4.0)
    slope = polynomial(b, bounded, FAR)
    rounder = b.float(ROUNDER)
    total = b.ffma(bounded, slope, rounder)
    r = b.ffma(bounded, slope, b.fsub(rounder, total))  # bounded * slope less its nearest integer
    complement = b.iadd(polynomial(b, r, EXP2), exponent_field(b, total))
    far = b.fsub(b.float(1.0), complement)
    return b.select(b.fle(b.float(NEAR_LIMIT), size), with_sign_of(b, far, x), near)
