"""Looking at the bits of a number."""

from __future__ import annotations

import torch

from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.views import TensorView
from tallystick.errors import CaptureError
from tallystick.spec.tensors import DType


@lowers(torch.ops.aten.view.dtype)
def view_as_dtype(ctx: Lowering, x: TensorView, dtype: torch.dtype) -> TensorView:
    """The bits of float32 as int32. Every NaN has the bits 0x7fc00000, so the other way round would not be free."""
    if x.dtype is not DType.F32 or dtype is not torch.int32:
        raise CaptureError(f"{ctx.line}: only the bits of float32 can be looked at, as int32: x.view(torch.int32)")
    return ctx.map(DType.I32, lambda b, word: word, x)
