"""Transformers and convolutional networks for images."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextForImageClassification,
    DeiTConfig,
    DeiTForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    SiglipConfig,
    SiglipForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from tallystick.capture.optimizers.adam import SGD
from zoo.data import CLASSES, START, TOKENS, captions, pictures
from zoo.family import LAYERS, WIDTH, Family, Make, own_loss


def like_vit(model: Any, config: Any, *more: str) -> Make:
    """Models whose configurations have ViT's names, and ``more`` of probabilities to drop."""

    def make(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
        hidden = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers}
        drops = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", *more), dropout)
        image = {"image_size": 16, "patch_size": 4, "num_attention_heads": 4, "num_labels": CLASSES}
        return model(config(**image, **hidden, **drops))

    return make


def siglip(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    hidden = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers}
    image = {"image_size": 16, "patch_size": 4, "num_attention_heads": 4, "attention_dropout": dropout}
    return SiglipForImageClassification(SiglipConfig(vision_config=image | hidden, num_labels=CLASSES))


def resnet(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """A stem with a max-pool, then a stage of basic blocks per layer, all with batch normalisation."""
    widths = [width // 2 << stage for stage in range(layers)]
    config = ResNetConfig(
        embedding_size=width // 2, hidden_sizes=widths, depths=[1] * layers, layer_type="basic", num_labels=CLASSES
    )
    return ResNetForImageClassification(config)


def convnext(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    widths = [width // 2 << stage for stage in range(layers)]
    sizes = {"num_stages": layers, "hidden_sizes": widths, "depths": [1] * layers, "patch_size": 4}
    return ConvNextForImageClassification(ConvNextConfig(**sizes, num_labels=CLASSES, drop_path_rate=dropout))


def swin(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Attention in windows that are shifted from layer to layer."""
    sizes = {"image_size": 16, "patch_size": 2, "embed_dim": width // 2, "depths": [2] * layers, "window_size": 4}
    drops = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "drop_path_rate": dropout}
    return SwinForImageClassification(SwinConfig(**sizes, **drops, num_heads=[2] * layers, num_labels=CLASSES))


def clip(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Two encoders whose answers about one pair are to agree."""
    hidden = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers}
    hidden |= {"num_attention_heads": 4, "attention_dropout": dropout}
    text = {"vocab_size": TOKENS, "max_position_embeddings": 32, "eos_token_id": START, "bos_token_id": START}
    image = {"image_size": 16, "patch_size": 4}
    return CLIPModel(CLIPConfig(text_config=text | hidden, vision_config=image | hidden, projection_dim=16))


def contrastive(model: nn.Module, **batch: Tensor) -> Tensor:
    return model(**batch, return_loss=True).loss


MOMENTUM = SGD(0.02, momentum=0.9)
FAMILIES = {
    "ViT": Family(like_vit(ViTForImageClassification, ViTConfig), own_loss, pictures),
    "DeiT": Family(like_vit(DeiTForImageClassification, DeiTConfig), own_loss, pictures),
    "BEiT": Family(like_vit(BeitForImageClassification, BeitConfig, "drop_path_rate"), own_loss, pictures, drops=True),
    "SigLIP": Family(siglip, own_loss, pictures),
    # Not by Adam, which makes whole steps of the rounding in gradients that are zero: those of the keys' biases.
    "DINOv2": Family(
        like_vit(Dinov2ForImageClassification, Dinov2Config), own_loss, pictures, optimizer=SGD(0.05, momentum=0.9)
    ),
    "Swin": Family(swin, own_loss, pictures, drops=True),
    "ResNet": Family(resnet, own_loss, pictures, optimizer=MOMENTUM, batch_size=8),
    "ConvNeXt": Family(convnext, own_loss, pictures),
    "CLIP": Family(clip, contrastive, captions),
}
