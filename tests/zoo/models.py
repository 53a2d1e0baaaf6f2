"""All of the zoo by name, in the order of the page ``docs/reference/models.md``."""

from __future__ import annotations

import transformers

from zoo import (
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

MODELS: dict[str, Family] = {
    name: family
    for file in (
        gpt2,
        llama,
        decoders,
        older,
        experts,
        scans,
        bert,
        encoders,
        translators,
        vision,
        pyramids,
        unet,
        series,
    )
    for name, family in file.FAMILIES.items()
}
LOSSES: dict[str, Family] = losses.FAMILIES
# What this project promises, beside the losses; the others are here to be found out about.
PROMISED = [
    *("GPT-2", "Llama", "Qwen3", "BERT", "ViT", "ResNet", "Mixtral", "Mamba", "T5", "Llama with LoRA", "LSTM", "U-Net")
]
