"""Further encoders as masked language models: other positions, bottlenecks, sparse attention, permutations."""

from __future__ import annotations

from transformers import (
    BigBirdConfig,
    BigBirdForMaskedLM,
    EsmConfig,
    EsmForMaskedLM,
    MobileBertConfig,
    MobileBertForMaskedLM,
    MPNetConfig,
    MPNetForMaskedLM,
    PreTrainedModel,
    RoFormerConfig,
    RoFormerForMaskedLM,
    XLNetConfig,
    XLNetLMHeadModel,
)

from zoo.bert import like_bert
from zoo.data import MASK, PADDING, TOKENS, masked_text
from zoo.family import LAYERS, WIDTH, Family, own_loss


def mobilebert(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Bottlenecks around every block."""
    sizes = {"embedding_size": width // 2, "intra_bottleneck_size": width, "true_hidden_size": width}
    return like_bert(MobileBertForMaskedLM, MobileBertConfig, **sizes)(dropout, width, layers)


def xlnet(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Positions relative to each other; looks both ways, as without a permutation."""
    sizes = {"d_model": width, "d_inner": 2 * width, "n_layer": layers, "n_head": 4}
    return XLNetLMHeadModel(XLNetConfig(vocab_size=TOKENS, **sizes, dropout=dropout))


ROTARY = {"position_embedding_type": "rotary", "mask_token_id": MASK, "pad_token_id": PADDING}
FAMILIES = {
    name: Family(make, own_loss, masked_text, drops=True)
    for name, make in {
        "ESM": like_bert(EsmForMaskedLM, EsmConfig, **ROTARY),
        "BigBird": like_bert(BigBirdForMaskedLM, BigBirdConfig, attention_type="original_full"),
        "MobileBERT": mobilebert,
        "RoFormer": like_bert(RoFormerForMaskedLM, RoFormerConfig),
        "MPNet": like_bert(MPNetForMaskedLM, MPNetConfig, pad_token_id=PADDING),
        "XLNet": xlnet,
    }.items()
}
