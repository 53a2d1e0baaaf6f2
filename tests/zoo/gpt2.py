"""GPT-2: learned positions, tied embeddings, dropout in three places."""

from __future__ import annotations

from transformers import GPT2Config, GPT2LMHeadModel

from zoo.data import TOKENS, padded_on_the_left, text
from zoo.family import LAYERS, WIDTH, Family, next_token, own_loss


def gpt2(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> GPT2LMHeadModel:
    sizes = {"vocab_size": TOKENS, "n_positions": 32, "n_embd": width, "n_layer": layers, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(**sizes, resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout))


def checkpointed(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> GPT2LMHeadModel:
    """Every block runs again in the backward pass."""
    model = gpt2(dropout, width, layers)
    model.activation_checkpointing_enable()
    return model


FAMILIES = {
    "GPT-2": Family(gpt2, next_token, text, drops=True),
    "GPT-2, padded on the left": Family(gpt2, own_loss, padded_on_the_left, drops=True),
    "GPT-2, checkpointed": Family(checkpointed, next_token, text, drops=True),
}
