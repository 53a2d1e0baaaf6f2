"""Mixtures of experts: a router chooses for every token which experts see it.

The choice is a step function: where two experts are equally wanted up to rounding, PyTorch and an exact program may
choose differently, and the curves part. With the seeds here that does not happen within the steps that are compared,
and no tolerance hides it: a different choice changes a loss by far more than 1e-3.
"""

from __future__ import annotations

from typing import Any

from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    PreTrainedModel,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from zoo.data import text
from zoo.family import LAYERS, WIDTH, Family, Make, next_token
from zoo.llama import sizes


def with_experts(model: Any, config: Any, experts: dict[str, Any] | None = None, head: bool = False) -> Make:
    """Models whose configurations have Llama's names; two of four experts see a token."""

    def make(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
        chosen = {"num_experts_per_tok": 2} | (experts or {"num_experts": 4})
        heads = {"head_dim": width // 4} if head else {}
        return model(config(**sizes(width, layers) | chosen | heads, attention_dropout=dropout))

    return make


LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4}
ROUTED = {"n_routed_experts": 4, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1, "num_key_value_heads": 4}
LOCAL = {"num_local_experts": 4}
DEEPSEEK = LATENT | ROUTED | {"moe_intermediate_size": 32}
FAMILIES = {
    name: Family(make, next_token, text)
    for name, make in {
        "Mixtral": with_experts(MixtralForCausalLM, MixtralConfig, LOCAL),
        "Qwen3 MoE": with_experts(
            Qwen3MoeForCausalLM, Qwen3MoeConfig, {"num_experts": 4, "moe_intermediate_size": 16}, head=True
        ),
        "OLMoE": with_experts(OlmoeForCausalLM, OlmoeConfig),
        "DeepSeek V3": with_experts(DeepseekV3ForCausalLM, DeepseekV3Config, DEEPSEEK),
        "gpt-oss": with_experts(GptOssForCausalLM, GptOssConfig, LOCAL | {"sliding_window": 4}, head=True),
    }.items()
}
