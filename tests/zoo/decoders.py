"""Other decoders, each with something of its own: soft caps, sliding windows, parallel blocks, slopes for positions."""

from __future__ import annotations

from typing import Any

from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    Glm4Config,
    Glm4ForCausalLM,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

from zoo.data import PADDING, START, TOKENS, text
from zoo.family import LAYERS, WIDTH, Family, Make, next_token
from zoo.llama import sizes


def like_llama(model: Any, config: Any, head: bool = False, **more: Any) -> Make:
    """Models whose configurations have Llama's names."""

    def make(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
        own = sizes(width, layers) | ({"head_dim": width // 4} if head else {}) | more
        return model(config(**own, attention_dropout=dropout))

    return make


def gptj(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    sizes = {"vocab_size": TOKENS, "n_positions": 32, "n_embd": width, "n_layer": layers, "n_head": 2, "rotary_dim": 4}
    return GPTJForCausalLM(GPTJConfig(**sizes, resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout))


def bloom(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    drops = {"hidden_dropout": dropout, "attention_dropout": dropout}
    return BloomForCausalLM(BloomConfig(vocab_size=TOKENS, hidden_size=width, n_layer=layers, n_head=2, **drops))


def opt(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    hidden = {"hidden_size": width, "ffn_dim": 2 * width, "num_hidden_layers": layers, "word_embed_proj_dim": width}
    drops = {"dropout": dropout, "attention_dropout": dropout}
    return OPTForCausalLM(
        OPTConfig(vocab_size=TOKENS, num_attention_heads=4, max_position_embeddings=32, **hidden, **drops)
    )


NO_MORE = {"residual_dropout": 0.0, "embedding_dropout": 0.0}  # than attention's
SPECIAL = {"pad_token_id": PADDING, "bos_token_id": START, "eos_token_id": START}
FAMILIES = {
    "GPT-J": Family(gptj, next_token, text),
    "BLOOM": Family(bloom, next_token, text),
    "OPT": Family(opt, next_token, text, drops=True),
    "Falcon": Family(like_llama(FalconForCausalLM, FalconConfig), next_token, text),
    "GPT-NeoX": Family(like_llama(GPTNeoXForCausalLM, GPTNeoXConfig), next_token, text),
    "Gemma": Family(like_llama(GemmaForCausalLM, GemmaConfig, head=True), next_token, text),
    "Gemma 2": Family(like_llama(Gemma2ForCausalLM, Gemma2Config, head=True, sliding_window=4), next_token, text),
    "Mistral": Family(like_llama(MistralForCausalLM, MistralConfig, sliding_window=4), next_token, text),
    "OLMo 2": Family(like_llama(Olmo2ForCausalLM, Olmo2Config), next_token, text),
    "Phi": Family(like_llama(PhiForCausalLM, PhiConfig), next_token, text),
    "Phi 3": Family(like_llama(Phi3ForCausalLM, Phi3Config, pad_token_id=PADDING), next_token, text),
    "Qwen2": Family(like_llama(Qwen2ForCausalLM, Qwen2Config), next_token, text),
    "SmolLM3": Family(like_llama(SmolLM3ForCausalLM, SmolLM3Config, **SPECIAL), next_token, text),
    "Gemma 3": Family(like_llama(Gemma3ForCausalLM, Gemma3TextConfig, head=True, sliding_window=4), next_token, text),
    "Granite": Family(like_llama(GraniteForCausalLM, GraniteConfig), next_token, text),
    "Cohere": Family(like_llama(CohereForCausalLM, CohereConfig), next_token, text),
    "StarCoder2": Family(
        like_llama(Starcoder2ForCausalLM, Starcoder2Config, sliding_window=4, **NO_MORE), next_token, text
    ),
    "GLM-4": Family(like_llama(Glm4ForCausalLM, Glm4Config, head=True, **SPECIAL), next_token, text),
}
