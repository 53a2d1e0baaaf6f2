"""Functions whose gradient, as PyTorch has it, cannot be captured: written with others, of which it can."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

SMALL = 1e-7  # PyTorch's addition to a norm that it divides by


def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along a dimension, scaled down to a norm where theirs is larger."""
    others = [d for d in range(input.dim()) if d != dim % input.dim()]
    norm = torch.linalg.vector_norm(input, p, others, keepdim=True)
    return torch.where(norm > maxnorm, input * (maxnorm / (norm + SMALL)), input)


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """Slices by number, replaced by a number, whose gradient counts every slice once."""
    if not isinstance(value, Tensor) or not value.requires_grad:
        return torch.index_fill(input, dim, index, value)
    if input.dim() == 0:
        return index_fill(input.reshape(1), 0, index.reshape(-1), value).reshape(())
    dim = dim % input.dim()
    filled = torch.zeros(input.shape[dim]).index_fill(0, index, 1.0) != 0
    return torch.where(filled.reshape([-1 if d == dim else 1 for d in range(input.dim())]), value, input)


def linear_cross_entropy(*args: Any, options: Any = None, **kwargs: Any) -> Tensor:
    """Without options, which say in how many chunks it is computed: a program is planned as a whole anyway."""
    return F.linear_cross_entropy(*args, **kwargs)
