"""Elementary functions as straight-line code: each takes a `CodeBuilder` and registers, and yields a register."""

from tallystick.ir.elementary.error import erf
from tallystick.ir.elementary.exponential import exp, exp2, expm1
from tallystick.ir.elementary.hyperbolic import cosh, sigmoid, sinh, tanh
from tallystick.ir.elementary.inverse_trigonometric import acos, asin, atan, atan2
from tallystick.ir.elementary.logarithm import log, log1p, log2, log10
from tallystick.ir.elementary.power import pow, rsqrt
from tallystick.ir.elementary.trigonometric import cos, sin, tan

__all__ = [
    "acos", "asin", "atan", "atan2", "cos", "cosh", "erf", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10",
    "pow", "rsqrt", "sigmoid", "sin", "sinh", "tan", "tanh",
]  # fmt: skip
