"""Small kernels, so that overhead counts: an MLP and the example's CNN on 8 x 8 images of digits."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

import digits
from cases.case import Case


class MLP(nn.Module):
    """Three layers on flattened digits images."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def mlp_loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x / 16), y)


def images() -> dict[str, np.ndarray]:
    return digits.split()[0]


def cases() -> list[Case]:
    return [
        Case("mlp", MLP, mlp_loss, images, 256, bar=0.7, goal=1.0),
        Case("digits", digits.DigitsNet, digits.loss, images, 64, bar=0.7, goal=1.0),
    ]
