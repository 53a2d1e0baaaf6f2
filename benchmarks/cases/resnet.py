"""A residual network of 18 layers for images of 32 x 32, as He et al. (2015) have it for CIFAR, with a wider start."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from cases.case import Case
from cases.transformer_models import images


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.around = nn.Sequential()
        if stride != 1 or channels_in != channels_out:
            shorter = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.around = nn.Sequential(shorter, nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(inner)) + self.around(x))


class ResNet18(nn.Module):
    """(N, 3, 32, 32) images -> (N, 10) logits, 11 million parameters."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(4):
            wider = width << stage
            blocks += [Block(channels, wider, 1 if stage == 0 else 2), Block(wider, wider, 1)]
            channels = wider
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.norm(self.conv(x))))
        return self.head(x.mean((2, 3)))


def loss(model: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    return F.cross_entropy(model(image), label)


def cases() -> list[Case]:
    return [Case("resnet-18", ResNet18, loss, images, 16, bar=1.2, goal=1.2)]
