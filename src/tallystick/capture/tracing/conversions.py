"""Modules that convert themselves while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tallystick.capture.tracing.provenance import here
from tallystick.errors import CaptureError


@contextmanager
def empty_conversions_left_out() -> Iterator[None]:
    """Let ``module.to(dtype)`` inside a step be nothing where nothing changes; refuse it where something would.

    Models that keep a part of themselves in float32 convert it each time they run. PyTorch exchanges the tensors even
    if they stay the same, which cannot be done to those that a step lends to a module.
    """
    convert = nn.Module._apply

    def convert_if_needed(self: nn.Module, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        own = [*self.parameters(recurse), *self.buffers(recurse)]
        with torch.no_grad():
            if all(fn(tensor) is tensor for tensor in own):
                return self
        raise CaptureError(
            f"a {type(self).__name__} is converted inside the step{here()} (to, float, half, ...): convert the model "
            "before it is captured, or tensors instead of the module"
        )

    nn.Module._apply = convert_if_needed
    try:
        yield
    finally:
        nn.Module._apply = convert
