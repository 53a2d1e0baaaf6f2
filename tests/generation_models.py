"""A tiny language model in plain PyTorch, with and without a cache, and a job that continues prompts with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import tallystick as ts
from tallystick.capture.tracing.random import philox_words

WORDS, WIDTH, HEADS, CONTEXT = 11, 8, 2, 24
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]


class TinyModel(nn.Module):
    """Two layers of attention. Shapes: (N, T) token numbers -> (N, T, WORDS)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.token = nn.Embedding(WORDS, WIDTH)
        self.place = nn.Embedding(CONTEXT, WIDTH)
        self.qkv = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(2))
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Without a cache."""
        x = self.token(tokens) + self.place(torch.arange(tokens.shape[1]))
        for layer in self.qkv:
            query, keys, values = heads(layer(x))
            attended = F.scaled_dot_product_attention(query, keys, values, is_causal=True)
            x = x + self.drop(attended.transpose(1, 2).flatten(2))
        return self.head(x * 3.0)


def heads(qkv: Tensor) -> tuple[Tensor, ...]:
    """(N, T, 3 * WIDTH) -> 3 times (N, HEADS, T, WIDTH // HEADS)."""
    n, t, _ = qkv.shape
    return tuple(part.view(n, t, HEADS, -1).transpose(1, 2) for part in qkv.split(WIDTH, -1))


def decode(model: Any, tokens: Tensor, cache: Any, positions: Tensor) -> Tensor:
    """With a cache."""
    x = model.token(tokens) + model.place(positions)
    for number, layer in enumerate(model.qkv):
        attended = cache.attend(*heads(layer(x)), number)
        x = x + model.drop(attended.transpose(1, 2).flatten(2))
    return model.head(x * 3.0)


def generation_job(**changes: Any) -> ts.GenerationJob:
    """The tiny model continuing three prompts of different lengths by 12 tokens."""
    given: dict[str, Any] = {
        "model": TinyModel(),
        "prompts": PROMPTS,
        "new_tokens": 12,
        "sampling": ts.Greedy(),
        "decode": decode,
        "segment_steps": 4,
    }
    return ts.GenerationJob(**(given | changes))


def greedy(model: nn.Module, prompt: list[int], new_tokens: int) -> list[int]:
    """What eager PyTorch adds to a prompt, without a cache."""
    tokens = list(prompt)
    with torch.no_grad():
        for _ in range(new_tokens):
            tokens.append(int(model.eval()(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]


def uniforms(seed: int, step: int, rows: int) -> np.ndarray:
    """The numbers that a decode step draws, one for every row: its only site is number 0."""
    words = philox_words(seed, 0, -(-rows // 4), step).reshape(-1)[:rows]
    return (words >> 8).astype(np.float64) * 2.0**-24


def kept_by_reference(logits: np.ndarray, rule: ts.Sample) -> np.ndarray:
    """Which tokens of one row survive, by sorting, in float64. Equal logits are kept or dropped together."""
    scaled = logits.astype(np.float64) / rule.temperature
    weights = np.exp(scaled - scaled.max())
    kept = np.ones(len(logits), bool)
    if rule.top_k is not None:
        kept &= scaled >= np.sort(scaled)[::-1][min(rule.top_k, len(scaled)) - 1]
    if rule.top_p is not None:
        share = np.where(kept, weights, 0.0) / weights[kept].sum()
        before = 0.0
        for value in np.unique(share[kept])[::-1]:
            if before >= rule.top_p:
                kept &= share > value
                break
            before += share[kept & (share == value)].sum()
    return kept


def drawn_by_reference(logits: np.ndarray, rule: ts.Sample, uniform: float) -> int:
    """The token of one row that a uniform number picks."""
    scaled = logits.astype(np.float64) / rule.temperature
    weights = np.where(kept_by_reference(logits, rule), np.exp(scaled - scaled.max()), 0.0)
    return int(np.searchsorted(np.cumsum(weights), uniform * weights.sum(), side="right"))
