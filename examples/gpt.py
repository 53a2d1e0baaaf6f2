"""A character-level GPT of about a million parameters, trained on the source of Python's standard library.

    tally run examples/gpt.py:job --out runs/gpt
    tally verify runs/gpt/receipt.json --sample 10%
    tally predict runs/gpt examples/gpt.py:predict

The text is whatever standard library this Python came with, so two versions of Python train on slightly different text.
"""

import sysconfig
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tallystick as ts

CONTEXT = 128
CHARACTERS = "\n" + "".join(chr(code) for code in range(32, 127))
TEXT_LENGTH = 2_000_000
STEPS = 600


class Block(nn.Module):
    """Pre-norm transformer block on (N, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        heads = (n, t, self.heads, width // self.heads)
        q, k, v = (part.view(heads).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(width, -1))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(n, t, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """Decoder-only transformer with tied embeddings: (N, T) character numbers -> (N, T, characters) logits."""

    def __init__(self, width: int = 128, heads: int = 4, layers: int = 5, context: int = CONTEXT) -> None:
        super().__init__()
        self.context = context
        self.token = nn.Embedding(len(CHARACTERS), width)
        self.position = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(CHARACTERS), bias=False)
        self.head.weight = self.token.weight
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * layers) ** 0.5 if residual else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens) + self.position(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def loss(model: nn.Module, text: Tensor) -> Tensor:
    """Mean cross entropy of every next character; text is (N, CONTEXT + 1) character numbers."""
    logits = model(text[:, :-1])
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), text[:, 1:].reshape(-1))


def encode(text: str) -> np.ndarray:
    """Character numbers of a text, characters outside the alphabet left out."""
    number = {character: i for i, character in enumerate(CHARACTERS)}
    return np.array([number[c] for c in text if c in number], dtype=np.int32)


def standard_library(length: int = TEXT_LENGTH) -> np.ndarray:
    """The first ``length`` characters of the standard library's modules, in the order of their names."""
    pieces, total = [], 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        piece = encode(path.read_text(encoding="utf-8", errors="ignore"))
        pieces.append(piece)
        total += len(piece)
        if total >= length:
            break
    return np.concatenate(pieces)[:length]


def windows(text: np.ndarray, context: int = CONTEXT) -> np.ndarray:
    """Rows of context + 1 characters, cut one after the other."""
    rows = len(text) // (context + 1)
    return text[: rows * (context + 1)].reshape(rows, context + 1)


def job() -> ts.TrainingJob:
    """The training job that ``tally run`` runs."""
    torch.manual_seed(0)
    return ts.TrainingJob(
        name="gpt",
        model=GPT(),
        loss=loss,
        optimizer=ts.optim.AdamW(
            lr=2e-3, weight_decay=0.1, schedule=ts.optim.warmup_cosine(STEPS, warmup=60, floor=0.1), clip_norm=1.0
        ),
        data={"text": windows(standard_library())},
        batch_size=16,
        steps=STEPS,
        segment_steps=50,
        seed=0,
    )


def predict(model: nn.Module, prompt: str = "import ", length: int = 400, seed: int = 0) -> str:
    """Text that continues a prompt, drawn from the model's distribution at temperature 0.7."""
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.from_numpy(encode(prompt).astype(np.int64))[None]
    with torch.no_grad():
        for _ in range(length):
            logits = model(tokens[:, -CONTEXT:])[:, -1] / 0.7
            drawn = torch.multinomial(torch.softmax(logits, -1), 1, generator=generator)
            tokens = torch.cat([tokens, drawn], 1)
    return "".join(CHARACTERS[i] for i in tokens[0].tolist())
