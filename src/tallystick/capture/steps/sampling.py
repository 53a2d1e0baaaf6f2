"""Choosing tokens inside a program.

Filters need no sorting. A token is kept if what lies above it weighs less than a limit: their number (top-k) or their
probability (top-p). Both fall as the token's value grows, so that there is one greatest value above which too much
lies, and it is found bit by bit, from the highest: after one sum per bit it is exact. Sums of numbers that are not
negative never grow when one of them becomes 0, also when they are rounded, so the search cannot be led astray.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tallystick.capture.sampling_rules import Greedy, Sample, Sampling
from tallystick.capture.tracing.provenance import section

LEAST = -(1 << 31)
FLOAT_BITS = 32  # of the keys of all floats
WEIGHT_BITS = 30  # of the keys of 0 to 1


def choose(logits: Tensor, sampling: Sampling) -> Tensor:
    """The number of a token for every row. Shapes: (rows, tokens) -> (rows,), int64."""
    with section(f"sampling: {'greedy' if isinstance(sampling, Greedy) else 'draw'}"):
        if isinstance(sampling, Greedy):
            return logits.argmax(-1)
        return draw(weights_of(logits.float(), sampling), torch.rand(logits.shape[0], 1))


def weights_of(logits: Tensor, sampling: Sample) -> Tensor:
    """Probabilities up to a factor, 0 for tokens that are filtered out. Shapes: (rows, tokens), the same."""
    logits = logits / sampling.temperature
    weights = (logits - logits.amax(-1, keepdim=True)).exp()
    tokens = logits.shape[-1]
    if sampling.top_k is not None and sampling.top_k < tokens:
        with section("sampling: top-k"):
            weights = torch.where(top_k(logits, sampling.top_k), weights, 0.0)
    if sampling.top_p is not None and sampling.top_p < 1.0:
        with section("sampling: top-p"):
            weights = torch.where(top_p(weights, sampling.top_p), weights, 0.0)
    return weights


def top_k(logits: Tensor, k: int) -> Tensor:
    """Which tokens have fewer than k larger ones. Shapes: (rows, tokens), the same, bool."""
    keys = ordered_bits(logits)
    return keys > greatest_below(keys, None, k, FLOAT_BITS)


def top_p(weights: Tensor, p: float) -> Tensor:
    """Which tokens have less than the share p of all weight above them. Weights lie between 0 and 1.

    Shapes: (rows, tokens), the same, bool.
    """
    keys = weights.view(torch.int32)
    return keys > greatest_below(keys, weights, p * weights.sum(-1, keepdim=True), WEIGHT_BITS)


def ordered_bits(x: Tensor) -> Tensor:
    """Integers in the order of the floats, the same for 0 and -0."""
    bits = torch.where(x == 0.0, 0.0, x).view(torch.int32)
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def greatest_below(keys: Tensor, weights: Tensor | None, limit: int | Tensor, bits: int) -> Tensor:
    """The greatest number for which the keys above it weigh at least ``limit``, else the least that keys can be.

    ``weights`` None counts. Keys have so many bits: all of them, or the lower ones of numbers that are not negative.
    Shapes: (rows, tokens), (rows, tokens), (rows, 1) -> (rows, 1), int32.
    """
    least = LEAST if bits == FLOAT_BITS else 0
    low = torch.full((keys.shape[0], 1), least, dtype=torch.int32)
    for bit in reversed(range(bits)):
        middle = torch.zeros_like(low) if bit == FLOAT_BITS - 1 else low + (1 << bit)
        above = keys > middle
        weight = above if weights is None else torch.where(above, weights, 0.0)
        low = torch.where(weight.sum(-1, keepdim=True) >= limit, middle, low)
    return low


def draw(weights: Tensor, uniform: Tensor) -> Tensor:
    """The first token at which the weights so far exceed the drawn share of all. Shapes: (rows, tokens), (rows, 1)."""
    sums = weights.cumsum(-1)
    return (sums <= uniform * sums[:, -1:]).sum(-1)
