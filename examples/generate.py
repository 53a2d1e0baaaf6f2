"""Text from the character-level GPT of ``gpt.py``, with a receipt that says these are the tokens it gives.

    tally run examples/generate.py:job --out runs/generate
    tally verify runs/generate/receipt.json

Weights come from runs/gpt if ``tally run examples/gpt.py:job`` was run before; otherwise the model is trained here, for
a minute at most and not well. ``llama`` is the same for a model of ``transformers``, whose weights are random.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gpt
import tallystick as ts

TRAINED, SHORT = Path("runs/gpt"), Path("runs/gpt-short")
STEPS, TEXT_LENGTH = 100, 200_000
PROMPTS = ["import ", "def test_", "    return self."]


class Characters:
    """Characters as tokens."""

    def encode(self, text: str) -> list[int]:
        return gpt.encode(text).tolist()

    def decode(self, tokens: list[int]) -> str:
        return "".join(gpt.CHARACTERS[token] for token in tokens)


def decode(model: Any, tokens: Tensor, cache: Any, positions: Tensor) -> Tensor:
    """The model's forward pass with a cache: (N, T) tokens at (N, T) positions -> (N, T, characters) logits."""
    x = model.token(tokens) + model.position(positions)
    n, t, width = x.shape
    for number, block in enumerate(model.blocks):
        heads = (n, t, block.heads, width // block.heads)
        q, k, v = (part.view(heads).transpose(1, 2) for part in block.qkv(block.norm1(x)).split(width, -1))
        x = x + block.out(cache.attend(q, k, v, number).transpose(1, 2).reshape(n, t, width))
        x = x + block.down(F.gelu(block.up(block.norm2(x))))
    return model.head(model.norm(x))


def trained() -> nn.Module:
    """The GPT with weights from a run: the one of the example, or a short one."""
    torch.manual_seed(0)
    if (TRAINED / "receipt.json").exists():
        return ts.Run.open(TRAINED).model(gpt.GPT())
    job = ts.TrainingJob(
        name="gpt-short",
        model=gpt.GPT(),
        loss=gpt.loss,
        optimizer=ts.optim.AdamW(lr=2e-3, clip_norm=1.0),
        data={"text": gpt.windows(gpt.standard_library(TEXT_LENGTH))},
        batch_size=8,
        steps=STEPS,
    )
    return job.run(SHORT, keep_states=2).model()


def job() -> ts.GenerationJob:
    """Three prompts side by side, continued by 80 drawn characters each."""
    return ts.GenerationJob(
        name="generate",
        model=trained(),
        decode=decode,
        tokenizer=Characters(),
        prompts=PROMPTS,
        new_tokens=80,
        sampling=ts.Sample(temperature=0.7, top_k=20, top_p=0.95),
        seed=1,
    )


def llama() -> ts.GenerationJob:
    """A causal language model of ``transformers``, as it is."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=128,
        intermediate_size=344,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return ts.GenerationJob(
        name="llama",
        model=LlamaForCausalLM(config),
        prompts=[list(b"Once upon a time"), list(b"The")],
        new_tokens=32,
        sampling=ts.Greedy(),
    )
