"""The elementary functions, what each is compared with and what it must hold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray
from scipy import special

from tallystick.ir import elementary
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import SOURCES, Code, Op

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Function:
    """An elementary function of one or two operands.

    ``reference``  in binary64: its own error is some 2^-27 of a binary32 ulp
    ``exact``      the same with mpmath at whatever precision is set, for finite operands with a finite result
    ``bar``        the largest error allowed, in ulps
    ``huge``       from this magnitude on twice the bar is allowed
    ``monotone``   whether it must never decrease
    ``joints``     magnitudes where its code goes over from one way of computing to another
    """

    name: str
    operands: int
    write: Callable[..., int]
    reference: Callable[..., Doubles]
    exact: Callable[..., Any]
    bar: float = 1.0
    monotone: bool = False
    joints: tuple[float, ...] = ()
    huge: float = float("inf")

    @property
    def code(self) -> Code:
        """The function of loads 0, 1, ... as straight-line code."""
        b = CodeBuilder()
        return b.build(self.write(b, *(b.load(slot) for slot in range(self.operands))))[0]

    @property
    def instructions(self) -> int:
        """What one evaluation costs in units of work: sources are free."""
        return sum(instruction.op not in SOURCES for instruction in self.code.instructions)

    @property
    def divisions(self) -> int:
        """Divisions and square roots, which take a processor several times as long as the others."""
        return sum(instruction.op in (Op.FDIV, Op.FSQRT) for instruction in self.code.instructions)

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that change whenever the code does."""
        lines = [f"{i.op.name} {i.args} {i.imm}" for i in self.code.instructions]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


def _one(
    name: str,
    reference: Callable[[Doubles], Doubles],
    exact: Callable[..., Any] | None = None,
    bar: float = 1.0,
    monotone: bool = False,
    joints: tuple[float, ...] = (),
    huge: float = float("inf"),
) -> Function:
    write = getattr(elementary, name)
    return Function(name, 1, write, reference, exact or getattr(mpmath, name), bar, monotone, joints, huge)


_TURNS = (2.0**-12, 0.7853982, 1.5707964, 3.1415927)
_ALL = (
    _one("exp", np.exp, monotone=True, joints=(87.33655, 88.72284, 103.27893, 103.97208)),
    _one("exp2", np.exp2, lambda x: mpmath.mpf(2) ** x, joints=(126.0, 128.0, 149.0, 150.0)),
    _one("expm1", np.expm1, joints=(2.0**-26, 17.32868, 88.72284)),
    _one("log", np.log, monotone=True, joints=(2.0**-126, 0.70710677, 1.0, 1.4142135)),
    _one("log2", np.log2, lambda x: mpmath.log(x, 2), joints=(2.0**-126, 0.70710677, 1.0, 1.4142135)),
    _one("log10", np.log10, lambda x: mpmath.log(x, 10), joints=(2.0**-126, 0.70710677, 1.0, 1.4142135)),
    _one("log1p", np.log1p, joints=(2.0**-24, 0.29289323, 0.41421354, 1.0, 2.0**24)),
    _one("tanh", np.tanh, monotone=True, joints=(1.0, 9.02)),
    _one(
        "sigmoid", special.expit, lambda x: 1 / (1 + mpmath.exp(-x)), monotone=True, joints=(17.32868, 87.33655, 104.0)
    ),
    _one("erf", special.erf, monotone=True, joints=(0.85, 3.8325067)),
    _one("sin", np.sin, joints=_TURNS, huge=2.0**24),
    _one("cos", np.cos, joints=_TURNS, huge=2.0**24),
    _one("tan", np.tan, joints=_TURNS, huge=2.0**24),
    _one("asin", np.arcsin, joints=(2.0**-12, 0.5, 1.0)),
    _one("acos", np.arccos, joints=(2.0**-12, 0.5, 1.0)),
    _one("atan", np.arctan, joints=(2.0**-12, 1.0, 2.0**60)),
    _one("sinh", np.sinh, joints=(1.0, 1.0397208, 89.415985)),
    _one("cosh", np.cosh, joints=(0.34657359, 1.0397208, 89.415985)),
    _one("rsqrt", lambda x: 1 / np.sqrt(x), lambda x: 1 / mpmath.sqrt(x), joints=(2.0**-126, 2.0**-97)),
    Function("pow", 2, elementary.pow, np.power, mpmath.power, bar=2.0),
    Function("atan2", 2, elementary.atan2, np.arctan2, mpmath.atan2),
)
FUNCTIONS = {function.name: function for function in _ALL}
