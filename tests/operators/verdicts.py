"""Whether what a captured program computes is what PyTorch computes.

Integers and booleans must be equal, NaN and infinities must stand in the same places. A float passes if it is as close
to PyTorch's as PyTorch's own tests ask of two devices in float32 (``torch.testing.assert_close``: 1.3e-6 of the value
plus 1e-5), for both are rounded and sums run in different orders. Where an operator loses more digits than that, both
are compared with PyTorch in float64 on the same operands: the program's largest error may be ``NO_WORSE`` times that
of PyTorch's own float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

RELATIVE, ABSOLUTE = 1.3e-6, 1e-5
NO_WORSE = 4.0

Arrays = Sequence[np.ndarray]


def complaint(
    got: Arrays, wanted: Sequence[Tensor], function: Callable[..., list[Tensor]], tensors: Sequence[Tensor]
) -> str | None:
    """What is wrong with results, or None."""
    precise: list[np.ndarray] | None = None
    for number, (mine, theirs) in enumerate(zip(got, (as_array(tensor) for tensor in wanted), strict=True)):
        if np.issubdtype(theirs.dtype, np.floating):
            with np.errstate(all="ignore"):
                if np.allclose(mine, theirs, RELATIVE, ABSOLUTE, equal_nan=True):
                    continue
                if precise is None:
                    precise = in_double(function, tensors)
                if precise is not None and as_precise(mine, theirs, precise[number]):
                    continue
        elif np.array_equal(mine.astype(theirs.dtype), theirs):
            continue
        return describe(number, mine, theirs)
    return None


def as_array(tensor: Tensor) -> np.ndarray:
    """A tensor's elements; what numpy has no dtype for as float32, which holds it exactly."""
    narrow = tensor.dtype is torch.bfloat16
    return (tensor.detach().float() if narrow else tensor.detach()).numpy(force=True)


def as_precise(mine: np.ndarray, theirs: np.ndarray, exact: np.ndarray) -> bool:
    """Whether errors are of the size that PyTorch's float32 has, and NaN and infinities where it has them."""
    special = ~np.isfinite(theirs)
    if not np.array_equal(mine[special], theirs[special], equal_nan=True) or not np.isfinite(mine[~special]).all():
        return False
    mine, theirs, exact = mine[~special], theirs[~special], exact[~special]
    allowed = NO_WORSE * np.max(np.abs(theirs - exact), initial=0.0) + RELATIVE * np.abs(exact) + ABSOLUTE
    return bool((np.abs(mine - exact) <= allowed).all())


def in_double(function: Callable[..., list[Tensor]], tensors: Sequence[Tensor]) -> list[np.ndarray] | None:
    """PyTorch's results in float64; None if the operator has none."""
    wide = [
        tensor.detach().to(torch.float64).requires_grad_(tensor.requires_grad)
        if tensor.dtype is torch.float32
        else tensor
        for tensor in tensors
    ]
    try:
        return [as_array(result) for result in function(*wide)]
    except RuntimeError:  # an operator of float32 alone
        return None


def describe(number: int, mine: np.ndarray, theirs: np.ndarray) -> str:
    """Where results differ most."""
    if mine.shape != theirs.shape:
        return f"result {number} has shape {mine.shape}, not {theirs.shape}"
    with np.errstate(all="ignore"):
        distance = np.abs(mine.astype(np.float64) - theirs.astype(np.float64))
    distance = np.where(np.isnan(distance), np.where(np.isnan(mine) == np.isnan(theirs), 0, np.inf), distance)
    at = np.unravel_index(int(np.argmax(distance)), mine.shape)
    where = ", ".join(str(int(i)) for i in at)
    return f"result {number} at [{where}] is {mine[at]:.7g}, PyTorch has {theirs[at]:.7g}"
