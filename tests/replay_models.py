"""The training runs whose roots are pinned. Changing anything here changes the roots.

Start weights and data come from numpy's PCG64, so that no library's initialisation can move them.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import tallystick as ts


class SmallNet(nn.Module):
    """Convolution, batch norm, pooling, dropout: (N, 1, 8, 8) -> (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.dropout = nn.Dropout(0.25)
        self.head = nn.Linear(12 * 2 * 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.conv1(x))), 2)
        return self.head(self.dropout(F.relu(self.conv2(x)).flatten(1)))


class SmallGPT(nn.Module):
    """One block of attention and GELU between tied embeddings: (N, T) -> (N, T, characters)."""

    def __init__(self, characters: int = 24, width: int = 16, heads: int = 2, context: int = 12) -> None:
        super().__init__()
        self.heads = heads
        self.token = nn.Embedding(characters, width)
        self.position = nn.Embedding(context, width)
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens) + self.position(torch.arange(tokens.shape[1]))
        n, t, width = x.shape
        parts = self.qkv(self.norm1(x)).split(width, -1)
        q, k, v = (part.view(n, t, self.heads, width // self.heads).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(n, t, width))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return x @ self.token.weight.T


def start_weights(model: nn.Module, seed: int) -> nn.Module:
    """Normal weights of the usual size from numpy, no biases; the ones of the norms stay."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim > 1:
                values = rng.standard_normal(parameter.shape) / np.sqrt(parameter[0].numel())
                parameter.copy_(torch.from_numpy(values.astype(np.float32)))
    return model


def net_loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y, label_smoothing=0.1)


def gpt_loss(model: nn.Module, text: Tensor) -> Tensor:
    logits = model(text[:, :-1])
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), text[:, 1:].reshape(-1))


def digits_job() -> ts.TrainingJob:
    """Images of noise around one pattern per class; SGD with momentum."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 10, 100)
    patterns = rng.standard_normal((10, 1, 8, 8))
    x = (patterns[y] + rng.standard_normal((100, 1, 8, 8))).astype(np.float32)
    return ts.TrainingJob(
        name="replay digits",
        model=start_weights(SmallNet(), 2),
        loss=net_loss,
        optimizer=ts.optim.SGD(lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
        data={"x": x, "y": y},
        batch_size=16,
        steps=40,
        segment_steps=10,
        seed=3,
    )


def gpt_job() -> ts.TrainingJob:
    """A text with structure; AdamW with a schedule and clipping."""
    rng = np.random.default_rng(4)
    text = (np.cumsum(rng.integers(0, 3, (60, 13)), axis=1) % 24).astype(np.int32)
    return ts.TrainingJob(
        name="replay gpt",
        model=start_weights(SmallGPT(), 5),
        loss=gpt_loss,
        optimizer=ts.optim.AdamW(
            lr=1e-2, weight_decay=0.1, schedule=ts.optim.warmup_cosine(40, warmup=5), clip_norm=1.0
        ),
        data={"text": text},
        batch_size=8,
        steps=40,
        segment_steps=10,
        seed=6,
    )


JOBS = {"digits": digits_job, "gpt": gpt_job}
