"""A frozen Llama with what peft offers beside plain LoRA; only the adapters are trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import peft

from tallystick.capture.optimizers.adam import AdamW
from zoo.data import text
from zoo.family import LAYERS, WIDTH, Family, Make, next_token
from zoo.llama import llama

QUERIES = {"target_modules": ["q_proj", "v_proj"]}
DOWN = ["down_proj"]


def adapted(config: Callable[..., peft.PeftConfig], **options: Any) -> Make:
    def make(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> peft.PeftModel:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft speaks of what it will change, and of its own defaults
            return peft.get_peft_model(llama(0.0, width, layers), config(task_type="CAUSAL_LM", **options))

    return make


LR, STEEP = 0.03, 0.3  # a frozen model of random weights learns little: the fewer numbers, the larger the steps
FAMILIES = {
    f"Llama with {name}": Family(make, next_token, text, optimizer=AdamW(lr, weight_decay=0.01))
    for name, lr, make in (
        ("AdaLoRA", LR, adapted(peft.AdaLoraConfig, init_r=4, target_r=2, total_step=1000, **QUERIES)),
        ("BOFT", LR, adapted(peft.BOFTConfig, boft_block_size=4, **QUERIES)),
        ("DoRA", LR, adapted(peft.LoraConfig, r=4, use_dora=True, **QUERIES)),
        ("HRA", LR, adapted(peft.HRAConfig, r=2, **QUERIES)),
        ("IA3", STEEP, adapted(peft.IA3Config, target_modules=["k_proj", *DOWN], feedforward_modules=DOWN)),
        ("LoRA and new tokens", LR, adapted(peft.LoraConfig, r=4, trainable_token_indices=[30, 31], **QUERIES)),
        (
            "LoRA and the head",
            LR,
            adapted(peft.LoraConfig, r=4, modules_to_save=["embed_tokens", "lm_head"], **QUERIES),
        ),
        ("norms trained", STEEP, adapted(peft.LNTuningConfig, target_modules=["input_layernorm"])),
        ("OFT", LR, adapted(peft.OFTConfig, oft_block_size=4, r=0, **QUERIES)),
        ("PiSSA", LR, adapted(peft.LoraConfig, r=4, init_lora_weights="pissa", **QUERIES)),
        (
            "rsLoRA and biases",
            0.003,
            adapted(peft.LoraConfig, r=4, use_rslora=True, bias="all", target_modules="all-linear"),
        ),
    )
}
