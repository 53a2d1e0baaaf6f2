"""Decoders whose configurations each have names of their own, and attention of their own in plain products."""

from __future__ import annotations

from typing import Any

from transformers import (
    CodeGenConfig,
    CodeGenForCausalLM,
    GPTBigCodeConfig,
    GPTBigCodeForCausalLM,
    MptConfig,
    MptForCausalLM,
    PreTrainedModel,
)

from zoo.data import TOKENS, text
from zoo.family import LAYERS, WIDTH, Family, Make, next_token


def like_gpt2(model: Any, config: Any, **more: Any) -> Make:
    """Models whose configurations have GPT-2's names."""

    def make(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
        sizes = {"vocab_size": TOKENS, "n_positions": 32, "n_embd": width, "n_layer": layers} | more
        return model(config(**sizes, resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout))

    return make


def mpt(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Slopes for positions."""
    sizes = {"d_model": width, "n_heads": 4, "n_layers": layers, "expansion_ratio": 2, "max_seq_len": 32}
    return MptForCausalLM(MptConfig(vocab_size=TOKENS, **sizes, emb_pdrop=dropout, resid_pdrop=dropout))


FAMILIES = {
    name: Family(make, next_token, text, drops=drops)
    for name, make, drops in (
        ("MPT", mpt, False),
        ("CodeGen", like_gpt2(CodeGenForCausalLM, CodeGenConfig, n_head=4, rotary_dim=4), False),
        ("GPT-BigCode", like_gpt2(GPTBigCodeForCausalLM, GPTBigCodeConfig, n_head=2), True),
    )
}
