"""Operands that eager PyTorch refuses, and tensors without data would take: a program of them is not the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten


def subtraction(a: Any, b: Any, **options: Any) -> Any:
    """Raises: RuntimeError for truth values, as eager PyTorch."""
    if any(isinstance(x, Tensor) and x.dtype is torch.bool for x in (a, b)):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, "
            "use the `~` or `logical_not()` operator instead."
        )
    return NotImplemented


def product_and_sum(x: Tensor, a: Tensor, b: Tensor, **options: Any) -> Any:
    """Raises: RuntimeError for operands of different dtypes, as eager PyTorch."""
    if not x.dtype == a.dtype == b.dtype:
        raise RuntimeError(f"expected operands of one dtype, but got: {x.dtype}, {a.dtype} and {b.dtype}")
    return NotImplemented


def pair_of_floats(x: Tensor, target: Tensor, *rest: Any, **options: Any) -> Any:
    """Raises: RuntimeError for a target of another dtype, as eager PyTorch."""
    if x.dtype != target.dtype:
        raise RuntimeError(f"Found dtype {target.dtype} but expected {x.dtype}")
    return NotImplemented


def no_truth_values(x: Tensor, *rest: Any, **options: Any) -> Any:
    """Raises: NotImplementedError for truth values, as eager PyTorch."""
    if x.dtype is torch.bool:
        raise NotImplementedError('"argmax" or "argmin" is not implemented for truth values: convert them with .long()')
    return NotImplemented


# Each returns NotImplemented for what is allowed: it is recorded as it is.
OPERANDS: dict[OpOverload, Callable] = {
    aten.sub.Tensor: subtraction,
    aten.sub_.Tensor: subtraction,
    aten.sub.Scalar: subtraction,
    aten.rsub.Scalar: subtraction,
    aten.rsub.Tensor: subtraction,
    aten.addmm.default: product_and_sum,
    aten.binary_cross_entropy.default: pair_of_floats,
    aten.argmax.default: no_truth_values,
    aten.argmin.default: no_truth_values,
}
