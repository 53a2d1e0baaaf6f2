"""Clipping gradients, as ``torch.nn.utils`` does."""

from __future__ import annotations

from functools import reduce
from operator import add

from torch import Tensor


def clip_by_global_norm(gradients: dict[str, Tensor], limit: float) -> dict[str, Tensor]:
    """Gradients scaled so that their norm together is at most ``limit``, as ``clip_grad_norm_``."""
    # Rows are summed first: each is a short fold of its own, so large parameters are summed by all threads.
    sums = [(g * g).flatten(1).sum(1).sum() if g.ndim > 1 else (g * g).sum() for g in gradients.values()]
    while len(sums) > 1:
        sums = [reduce(add, sums[i : i + 8]) for i in range(0, len(sums), 8)]
    scale = (limit / (sums[0].sqrt() + 1e-6)).clamp(max=1.0)
    return {name: gradient * scale for name, gradient in gradients.items()}


def clip_by_value(gradients: dict[str, Tensor], limit: float) -> dict[str, Tensor]:
    """Gradients whose elements lie within +- ``limit``, as ``clip_grad_value_``."""
    return {name: gradient.clamp(-limit, limit) for name, gradient in gradients.items()}
