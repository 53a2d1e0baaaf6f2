"""Scaled dot-product attention, written for lowering.

PyTorch writes it out with its scale split over queries and keys, which costs a pass over both, and with a check for
rows that see nothing. Without a mask every row sees something, and the scale is free after the product.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query @ key.T * scale) @ value. Shapes: (..., L, E), (..., S, E), (..., S, V) -> (..., L, V)."""
    if attn_mask is not None or query.dim() < 2 or key.shape[-2] == 0:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if enable_gqa:
        heads = query.shape[-3]
        key = key.repeat_interleave(heads // key.shape[-3], -3)
        value = value.repeat_interleave(heads // value.shape[-3], -3)
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query @ key.transpose(-2, -1)) * factor
    if is_causal:
        row, column = torch.arange(scores.shape[-2]).unsqueeze(1), torch.arange(scores.shape[-1])
        scores = torch.where(column <= row, scores, -math.inf)
    weights = scores.softmax(-1)
    return (F.dropout(weights, dropout_p) if dropout_p else weights) @ value
