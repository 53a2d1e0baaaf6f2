"""Models that continue series of numbers."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PatchTSTConfig, PatchTSTForPrediction, PreTrainedModel

from zoo.data import waves
from zoo.family import LAYERS, WIDTH, Family


def patchtst(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Attention over patches of four points; each channel by itself."""
    sizes = {"d_model": width, "ffn_dim": 2 * width, "num_hidden_layers": layers, "num_attention_heads": 4}
    series = {"num_input_channels": 2, "context_length": 16, "prediction_length": 4}
    patches = {"patch_length": 4, "patch_stride": 4, "loss": "mse"}
    drops = {f"{part}_dropout": dropout for part in ("attention", "positional", "path", "ff", "head")}
    return PatchTSTForPrediction(PatchTSTConfig(**sizes, **series, **patches, **drops))


def forecast(model: nn.Module, past: Tensor, future: Tensor) -> Tensor:
    return model(past_values=past, future_values=future).loss


FAMILIES = {"PatchTST": Family(patchtst, forecast, waves)}
