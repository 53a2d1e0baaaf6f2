"""Encoders with decoders."""

from __future__ import annotations

from typing import Any

from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from zoo.data import PADDING, START, TOKENS, speech, translations
from zoo.family import LAYERS, WIDTH, Family, own_loss

SPECIAL = {"pad_token_id": PADDING, "decoder_start_token_id": START, "bos_token_id": START, "eos_token_id": START}


def t5(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Relative positions, in buckets."""
    sizes = {"d_model": width, "d_kv": width // 4, "d_ff": 2 * width, "num_layers": layers, "num_heads": 4}
    return T5ForConditionalGeneration(T5Config(vocab_size=TOKENS, **sizes, **SPECIAL, dropout_rate=dropout))


def both_sides(width: int, layers: int) -> dict[str, Any]:
    """Sizes of an encoder and a decoder that are alike, in the names of BART."""
    parts: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        parts |= {f"{side}_layers": layers, f"{side}_attention_heads": 4, f"{side}_ffn_dim": 2 * width}
    return parts | {"d_model": width, "vocab_size": TOKENS} | SPECIAL


def bart(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    config = BartConfig(**both_sides(width, layers), max_position_embeddings=32, dropout=dropout)
    return BartForConditionalGeneration(config)


def whisper(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    sizes = {"num_mel_bins": 8, "max_source_positions": 16, "max_target_positions": 32}
    return WhisperForConditionalGeneration(WhisperConfig(**both_sides(width, layers), **sizes, dropout=dropout))


FAMILIES = {
    "T5": Family(t5, own_loss, translations, drops=True),
    "BART": Family(bart, own_loss, translations, drops=True),
    "Whisper": Family(whisper, own_loss, speech),
}
