"""Models of the transformers library, from configurations, with random weights and its default attention (sdpa)."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from cases.case import Case

ROWS = 256


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=1024,
            hidden_size=320,
            intermediate_size=864,
            num_hidden_layers=8,
            num_attention_heads=5,
            num_key_value_heads=5,
            max_position_embeddings=256,
            attn_implementation="sdpa",
        )
    )


def bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(
        BertConfig(
            vocab_size=8192,
            hidden_size=384,
            intermediate_size=1536,
            num_hidden_layers=6,
            num_attention_heads=12,
            max_position_embeddings=128,
            num_labels=4,
            attn_implementation="sdpa",
        )
    )


def vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(
        ViTConfig(
            hidden_size=192,
            intermediate_size=768,
            num_hidden_layers=12,
            num_attention_heads=3,
            image_size=32,
            patch_size=4,
            num_channels=3,
            num_labels=10,
            attn_implementation="sdpa",
        )
    )


def next_token_loss(model: nn.Module, ids: Tensor) -> Tensor:
    return model(input_ids=ids, labels=ids).loss


def sentence_loss(model: nn.Module, ids: Tensor, mask: Tensor, label: Tensor) -> Tensor:
    return model(input_ids=ids, attention_mask=mask, labels=label).loss


def image_loss(model: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    return model(pixel_values=image, labels=label).loss


def tokens() -> dict[str, np.ndarray]:
    return {"ids": np.random.default_rng(0).integers(0, 1024, (ROWS, 128))}


def sentences() -> dict[str, np.ndarray]:
    """Token numbers of sentences of 32 to 64 tokens, padded to 64."""
    rng = np.random.default_rng(0)
    mask = (np.arange(64) < rng.integers(32, 65, (ROWS, 1))).astype(np.int64)
    return {"ids": rng.integers(0, 8192, (ROWS, 64)) * mask, "mask": mask, "label": rng.integers(0, 4, ROWS)}


def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"image": rng.standard_normal((ROWS, 3, 32, 32), np.float32), "label": rng.integers(0, 10, ROWS)}


def cases() -> list[Case]:
    return [
        Case("llama-10m", llama, next_token_loss, tokens, 8, bar=0.9, goal=1.0),
        Case("bert", bert, sentence_loss, sentences, 16, bar=0.9, goal=1.0),
        Case("vit", vit, image_loss, images, 32, bar=0.9, goal=1.0),
    ]
