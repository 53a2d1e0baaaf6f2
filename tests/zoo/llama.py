"""Llama and those built like it: rotary positions, grouped queries, RMS norms, gated units; and adapters on top."""

from __future__ import annotations

import warnings
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from zoo.data import TOKENS, padded_on_the_left, text
from zoo.family import LAYERS, WIDTH, Family, next_token, own_loss


def sizes(width: int, layers: int) -> dict[str, Any]:
    """Four queries share two keys."""
    hidden = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return {"vocab_size": TOKENS, "max_position_embeddings": 32} | hidden | heads


def llama(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> LlamaForCausalLM:
    return LlamaForCausalLM(LlamaConfig(**sizes(width, layers), attention_dropout=dropout))


def eager_attention(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> LlamaForCausalLM:
    """With its authors' own attention in place of PyTorch's."""
    config = LlamaConfig(**sizes(width, layers), attention_dropout=dropout, attn_implementation="eager")
    return LlamaForCausalLM(config)


def qwen3(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> Qwen3ForCausalLM:
    config = Qwen3Config(**sizes(width, layers), head_dim=width // 4, attention_dropout=dropout)
    return Qwen3ForCausalLM(config)


def lora(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PeftModel:
    """A frozen Llama with adapters of rank 4, which alone are trained."""
    adapters = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", lora_dropout=dropout)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in a way that will be given up
        return get_peft_model(llama(0.0, width, layers), adapters)


FAMILIES = {
    "Llama": Family(llama, next_token, text),
    "Llama, padded on the left": Family(llama, own_loss, padded_on_the_left),
    "Llama, eager attention": Family(eager_attention, own_loss, padded_on_the_left),
    "Qwen3": Family(qwen3, next_token, text),
    "Llama with LoRA": Family(lora, next_token, text),
}
