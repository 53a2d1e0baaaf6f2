"""Which function lowers which ATen operator.

A lowering is a function that takes the ``Lowering`` in progress and the operator's arguments: tensors are
``TensorView``s, everything else is as PyTorch passes it. It returns the operator's result, a ``TensorView`` or a tuple
of them::

    @lowers(aten.neg.default)
    def neg(ctx: Lowering, x: TensorView) -> TensorView:
        return ctx.map(x.dtype, lambda b, x: b.fmul(x, b.float(-1.0)), x)
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from torch._ops import OpOverload

LoweringFunction = Callable[..., Any]

_LOWERINGS: dict[OpOverload, LoweringFunction] = {}


def lowers(*operators: OpOverload) -> Callable[[LoweringFunction], LoweringFunction]:
    """Register the decorated function as the lowering of these operators."""

    def register(function: LoweringFunction) -> LoweringFunction:
        for operator in operators:
            assert operator not in _LOWERINGS, f"{operator} has two lowerings"
            _LOWERINGS[operator] = function
        return function

    return register


def lowerings() -> dict[OpOverload, LoweringFunction]:
    """Every registered lowering; the modules of the ``lowerings`` package register theirs when they are imported."""
    package = importlib.import_module("tallystick.capture.lowerings")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return _LOWERINGS
