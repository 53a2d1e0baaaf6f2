"""BERT and its kin as masked language models, with attention masks and labels for hidden tokens only."""

from __future__ import annotations

from typing import Any

from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from zoo.data import PADDING, START, TOKENS, masked_text
from zoo.family import LAYERS, WIDTH, Family, Make, own_loss


def sizes(dropout: float, width: int, layers: int) -> dict[str, Any]:
    hidden = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers}
    drops = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return {"vocab_size": TOKENS, "max_position_embeddings": 32, "num_attention_heads": 4} | hidden | drops


def like_bert(model: Any, config: Any, **more: Any) -> Make:
    """Models whose configurations have BERT's names."""

    def make(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
        return model(config(**sizes(dropout, width, layers), **more))

    return make


def distilbert(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    hidden = {"dim": width, "hidden_dim": 2 * width, "n_layers": layers, "n_heads": 4}
    drops = {"dropout": dropout, "attention_dropout": dropout}
    return DistilBertForMaskedLM(DistilBertConfig(vocab_size=TOKENS, max_position_embeddings=32, **hidden, **drops))


def modernbert(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Its layers look four tokens far, every third at all."""
    hidden = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers}
    drops = {"attention_dropout": dropout, "embedding_dropout": dropout, "mlp_dropout": dropout}
    special = {"pad_token_id": PADDING, "cls_token_id": START, "sep_token_id": START}
    special |= {"bos_token_id": START, "eos_token_id": START}
    sizes = {"vocab_size": TOKENS, "num_attention_heads": 4, "max_position_embeddings": 32, "local_attention": 4}
    return ModernBertForMaskedLM(ModernBertConfig(**sizes, **hidden, **drops, **special))


RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 32}
FAMILIES = {
    name: Family(make, own_loss, masked_text, drops=True)
    for name, make in {
        "BERT": like_bert(BertForMaskedLM, BertConfig),
        "DistilBERT": distilbert,
        "RoBERTa": like_bert(RobertaForMaskedLM, RobertaConfig, pad_token_id=PADDING),
        "ELECTRA": like_bert(ElectraForMaskedLM, ElectraConfig, embedding_size=16),
        "ALBERT": like_bert(AlbertForMaskedLM, AlbertConfig, embedding_size=16),
        "DeBERTa v2": like_bert(DebertaV2ForMaskedLM, DebertaV2Config, **RELATIVE),
        "ModernBERT": modernbert,
    }.items()
}
