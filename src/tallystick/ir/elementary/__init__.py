"""Elementary functions as straight-line code: each takes a `CodeBuilder` and registers, and yields a register."""

from tallystick.ir.elementary.error import erf
from tallystick.ir.elementary.exponential import exp, exp2, expm1
from tallystick.ir.elementary.hyperbolic import sigmoid, tanh

__all__ = ["erf", "exp", "exp2", "expm1", "sigmoid", "tanh"]
