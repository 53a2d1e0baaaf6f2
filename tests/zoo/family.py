"""What a member of the zoo is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tallystick.capture.optimizers.adam import AdamW, Optimizer

WIDTH, LAYERS = 32, 2


class Make(Protocol):
    """Builds a model with PyTorch's generator as it stands.

    ``dropout`` is the probability wherever the architecture drops out, ``width`` that of its hidden states,
    ``layers`` how many blocks it has; models without one of these take no notice of it.
    """

    def __call__(self, dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> nn.Module: ...


@dataclass(frozen=True)
class Family:
    """A model, what it is trained on, and how."""

    make: Make
    loss: Callable[..., Tensor]
    data: Callable[[], dict[str, np.ndarray]]
    drops: bool = False  # whether it has dropout when it is built with its authors' defaults
    optimizer: Optimizer = field(default_factory=lambda: AdamW(3e-3, weight_decay=0.01))
    batch_size: int = 4

    def job(self, steps: int, **size: Any) -> dict[str, Any]:
        """Arguments of ``capture_training`` and of ``train_eagerly``."""
        torch.manual_seed(0)
        job = {"model": self.make(**size), "loss": self.loss, "optimizer": self.optimizer, "data": self.data()}
        return job | {"batch_size": self.batch_size, "steps": steps, "seed": 1}


def own_loss(model: nn.Module, **batch: Tensor) -> Tensor:
    """The loss that a model of ``transformers`` computes when it is given labels."""
    return model(**batch).loss


def next_token(model: nn.Module, input_ids: Tensor) -> Tensor:
    """The loss of a language model of ``transformers``, which shifts the labels itself."""
    return model(input_ids=input_ids, labels=input_ids).loss
