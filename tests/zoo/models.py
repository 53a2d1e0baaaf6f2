"""All of the zoo by name, in the order of the page ``docs/reference/models.md``."""

from __future__ import annotations

import transformers

from zoo import (
    adapters,
    bert,
    decoders,
    encoders,
    experts,
    gpt2,
    llama,
    losses,
    older,
    pyramids,
    scans,
    series,
    translators,
    unet,
    vision,
)
from zoo.family import Family

transformers.logging.set_verbosity_error()

TEXT = (gpt2, llama, adapters, decoders, older, experts, scans, bert, encoders, translators)
OTHERS = (vision, pyramids, unet, series)
MODELS: dict[str, Family] = {name: family for file in (*TEXT, *OTHERS) for name, family in file.FAMILIES.items()}
LOSSES: dict[str, Family] = losses.FAMILIES
# What this project promises, beside the losses; the others are here to be found out about.
PROMISED = [
    *("GPT-2", "Llama", "Qwen3", "BERT", "ViT", "ResNet", "Mixtral", "Mamba", "T5", "Llama with LoRA", "LSTM", "U-Net")
]
