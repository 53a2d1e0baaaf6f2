"""Which operators are written out in terms of others, and how, before lowering.

Two tables. ``UNDER_AUTOGRAD`` replaces operators while the user's code is recorded, below autograd: those whose
mutation PyTorch does not declare. ``CORE`` applies afterwards, to the functional record: PyTorch's own core ATen
decompositions, without those that would lose a form that lowers well, and with some of ours.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions, get_decompositions
from torch._ops import OpOverload

aten = torch.ops.aten


def batch_norm_training(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalisation over all axes but the second; running statistics are updated in place.

    Shapes: x (N, C, ...); weight, bias, running_mean, running_var (C,). Returns the output, the batch's mean and
    1 / sqrt(variance + eps), both empty in evaluation.
    """
    shape = [1, -1] + [1] * (x.dim() - 2)
    if not training:
        assert running_mean is not None and running_var is not None, "PyTorch checks this before"
        invstd = torch.rsqrt(running_var + eps)
        out = (x - running_mean.view(shape)) * invstd.view(shape)
        saved = (x.new_empty(0), x.new_empty(0))
    else:
        axes = [axis for axis in range(x.dim()) if axis != 1]
        count = x.numel() // x.shape[1]
        mean = x.sum(axes) / count
        centred = x - mean.view(shape)
        squares = (centred * centred).sum(axes)
        invstd = torch.rsqrt(squares / count + eps)
        out = centred * invstd.view(shape)
        saved = (mean, invstd)
        if running_mean is not None:
            running_mean.copy_(momentum * mean + (1 - momentum) * running_mean)
        if running_var is not None:
            unbiased = squares / (count - 1)
            running_var.copy_(momentum * unbiased + (1 - momentum) * running_var)
    if weight is not None:
        out = out * weight.view(shape)
    if bias is not None:
        out = out + bias.view(shape)
    return out, *saved


UNDER_AUTOGRAD: dict[OpOverload, Callable] = {aten.native_batch_norm.default: batch_norm_training}

CORE: dict[OpOverload, Callable] = dict(core_aten_decompositions())
CORE.update(
    get_decompositions(
        [
            aten.addcdiv,
            aten._log_softmax,
            aten._softmax,
            aten.gelu,
            aten.native_layer_norm,
            aten.native_layer_norm_backward,
            aten.native_group_norm,
            aten.native_group_norm_backward,
            aten.nll_loss_forward,
            aten.mse_loss,
            aten.stack,
        ]
    )
)
