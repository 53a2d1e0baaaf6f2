"""Small models that a training test captures: a perceptron, a convolutional network, transformers."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Perceptron(nn.Module):
    """Two layers. Shapes: (N, inputs) -> (N, classes)."""

    def __init__(self, inputs: int = 12, hidden: int = 32, classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


class ConvolutionalNetwork(nn.Module):
    """Convolutions (one strided), batch normalisation, pools. Shapes: (N, 1, 8, 8) -> (N, classes)."""

    def __init__(self, width: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * width)
        self.out = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(torch.relu(self.norm1(self.conv1(x))), 2)
        x = torch.relu(self.norm2(self.conv2(x)))
        return self.out(F.avg_pool2d(x, 2).flatten(1))


class Block(nn.Module):
    """Attention and a perceptron, each after layer normalisation; rotary embeddings if asked for."""

    def __init__(self, width: int, heads: int, rotary: bool) -> None:
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(width, -1)
        q, k, v = (part.view(n, t, self.heads, width // self.heads).transpose(1, 2) for part in (q, k, v))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(n, t, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """A small GPT with tied embeddings. Shapes: (N, T) int64 -> (N, T, vocabulary)."""

    def __init__(self, vocabulary: int = 17, context: int = 16, width: int = 32, layers: int = 2, rotary: bool = False):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = None if rotary else nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, 4, rotary) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.1)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        if self.positions is not None:
            x = x + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def rotate(x: Tensor) -> Tensor:
    """Rotary position embedding of (N, heads, T, size)."""
    half = x.shape[-1] // 2
    speed = 10000.0 ** (-torch.arange(half).float() / half)
    angle = torch.outer(torch.arange(x.shape[-2]).float(), speed)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def classify(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def predict_next(model: nn.Module, ids: Tensor) -> Tensor:
    logits = model(ids[:, :-1])
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))


def points(rows: int = 60, inputs: int = 12, classes: int = 5) -> dict[str, np.ndarray]:
    """Points around one centre per class, so that there is something to learn."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, rows)
    centres = rng.normal(size=(classes, inputs))
    return {"x": (centres[y] + rng.normal(size=(rows, inputs))).astype(np.float32), "y": y}


def images(rows: int = 60, classes: int = 5) -> dict[str, np.ndarray]:
    flat = points(rows, 64, classes)
    return {"x": flat["x"].reshape(rows, 1, 8, 8), "y": flat["y"]}


def texts(rows: int = 40, context: int = 16, vocabulary: int = 17) -> dict[str, np.ndarray]:
    """Each next token follows from the last, with a little noise."""
    rng = np.random.default_rng(0)
    ids = np.zeros((rows, context + 1), np.int64)
    ids[:, 0] = rng.integers(0, vocabulary, rows)
    for t in range(context):
        noise = rng.random(rows) < 0.1
        ids[:, t + 1] = np.where(noise, rng.integers(0, vocabulary, rows), (ids[:, t] * 5 + 3) % vocabulary)
    return {"ids": ids}
