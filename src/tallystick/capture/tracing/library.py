"""Parts of PyTorch's own library that choose or compute in Python by the values of tensors, written for tracing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def library_for_tracing() -> Iterator[None]:
    """Inside, compiled functions run as they were written, and batch norm can average over all batches."""
    import torch._dynamo.config as compiler

    plain = _BatchNorm.forward
    with ExitStack() as stack:
        stack.enter_context(compiler.patch(error_on_nested_fx_trace=False))  # in the run that is recorded
        stack.enter_context(torch.compiler.set_stance("force_eager"))  # in its repetition

        def forward(self: Any, input: Tensor) -> Tensor:
            averages = self.momentum is None and self.training and self.track_running_stats
            return _averaging_batch_norm(self, input) if averages else plain(self, input)

        _BatchNorm.forward = forward
        try:
            yield
        finally:
            _BatchNorm.forward = plain


def _averaging_batch_norm(norm: Any, x: Tensor) -> Tensor:
    """Batch norm with ``momentum=None``: running statistics are the means over all batches so far.

    PyTorch takes the number of batches out of its tensor, which no program can. Shapes: x (N, C, ...).
    """
    norm._check_input_dim(x)
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        share = 1.0 / norm.num_batches_tracked.to(torch.float32)
        variance, mean = torch.var_mean(x.detach(), [axis for axis in range(x.dim()) if axis != 1])
        norm.running_mean.copy_(share * mean + (1.0 - share) * norm.running_mean)
        norm.running_var.copy_(share * variance + (1.0 - share) * norm.running_var)
    return F.batch_norm(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)
