"""Networks for images in stages, each with fewer and wider places than the one before."""

from __future__ import annotations

from functools import partial

from transformers import (
    LevitConfig,
    LevitForImageClassification,
    MobileViTConfig,
    MobileViTForImageClassification,
    PoolFormerConfig,
    PoolFormerForImageClassification,
    PreTrainedModel,
    PvtV2Config,
    PvtV2ForImageClassification,
    RegNetConfig,
    RegNetForImageClassification,
    SegformerConfig,
    SegformerForImageClassification,
)

from tallystick.capture.optimizers.adam import AdamW
from zoo.data import CLASSES, pictures
from zoo.family import LAYERS, WIDTH, Family, own_loss
from zoo.vision import MOMENTUM

STAGES = 4


def segformer(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Patches that overlap, keys and values of a coarser grid."""
    sizes = {"num_encoder_blocks": layers, "depths": [1] * layers, "hidden_sizes": [width // 2, width][:layers]}
    sizes |= {"patch_sizes": [3, 3][:layers], "strides": [2, 2][:layers], "sr_ratios": [2, 1][:layers]}
    sizes |= {"num_attention_heads": [1, 2][:layers], "mlp_ratios": [2, 2][:layers], "decoder_hidden_size": width}
    drops = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "drop_path_rate": dropout}
    config = SegformerConfig(**sizes, **drops, classifier_dropout_prob=dropout, num_labels=CLASSES)
    return SegformerForImageClassification(config)


def regnet(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Convolutions in groups, batch normalisation, channels that are weighed."""
    widths = [width // 2 << stage for stage in range(layers)]
    config = RegNetConfig(
        embedding_size=width // 2, hidden_sizes=widths, depths=[1] * layers, groups_width=4, num_labels=CLASSES
    )
    return RegNetForImageClassification(config)


def mobilevit(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Attention between the same places of all patches, among convolutions."""
    narrow = width // 4
    sizes = {"hidden_sizes": [width // 2] * 3, "neck_hidden_sizes": [narrow] * 6 + [width], "num_attention_heads": 2}
    drops = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = MobileViTConfig(**sizes, **drops, classifier_dropout_prob=dropout, image_size=32, num_labels=CLASSES)
    return MobileViTForImageClassification(config)


def poolformer(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Means of neighbours in place of attention."""
    sizes = {"hidden_sizes": [width // 2] * STAGES, "depths": [1] * STAGES, "mlp_ratio": 2.0}
    return PoolFormerForImageClassification(PoolFormerConfig(**sizes, drop_path_rate=dropout, num_labels=CLASSES))


def levit(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Attention that shrinks the image, with a bias for every distance."""
    sizes = {"hidden_sizes": [width] * 3, "num_attention_heads": [2] * 3, "depths": [1] * 3, "key_dim": [8] * 3}
    return LevitForImageClassification(LevitConfig(**sizes, drop_path_rate=0, image_size=32, num_labels=CLASSES))


def pvt(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    sizes = {"hidden_sizes": [width // 2, width // 2, width, width], "depths": [1] * STAGES}
    sizes |= {"num_attention_heads": [1, 1, 2, 2], "mlp_ratios": [2] * STAGES, "image_size": 32}
    drops = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "drop_path_rate": dropout}
    return PvtV2ForImageClassification(PvtV2Config(**sizes, **drops, num_labels=CLASSES))


LARGER = partial(pictures, 32)
FAMILIES = {
    "SegFormer": Family(segformer, own_loss, pictures, drops=True),
    "RegNet": Family(regnet, own_loss, pictures, optimizer=MOMENTUM, batch_size=8),
    "MobileViT": Family(mobilevit, own_loss, LARGER, drops=True, optimizer=MOMENTUM, batch_size=8),
    "PoolFormer": Family(poolformer, own_loss, LARGER),
    # In small steps: its normalisations amplify rounding as those of MobileNet do.
    "LeViT": Family(levit, own_loss, LARGER, optimizer=AdamW(1e-4), batch_size=32),
    "PVT v2": Family(pvt, own_loss, LARGER, drops=True),
}
