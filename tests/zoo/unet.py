"""A U-Net of ``torch.nn``: down by max-pools, up by transposed convolutions, beside what was seen on the way down.

It is trained by momentum: Adam divides a gradient by its size, so where the gradient is nothing but rounding it makes
whole steps of that rounding, and two ways of rounding part after some fifty of them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tallystick.capture.optimizers.adam import SGD
from zoo.data import blobs
from zoo.family import LAYERS, WIDTH, Family


def twice(inside: int, outside: int, dropout: float) -> nn.Sequential:
    """Two convolutions with batch normalisation. Shapes: (N, inside, H, W) -> (N, outside, H, W)."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1, bias=False),  # normalisation would take it away again
        nn.BatchNorm2d(outside),
        nn.ReLU(),
        nn.Dropout2d(dropout),
        nn.Conv2d(outside, outside, 3, padding=1),
        nn.GroupNorm(2, outside),
        nn.SiLU(),
    )


class UNet(nn.Module):
    """(N, 1, H, W) images -> (N, 1, H, W) logits; H and W are multiples of 2^layers."""

    def __init__(self, dropout: float, width: int, layers: int) -> None:
        super().__init__()
        widths = [width // 4 << level for level in range(layers + 1)]
        self.down = nn.ModuleList(
            twice(before, after, dropout) for before, after in zip([1, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(w, w // 2, 2, stride=2) for w in reversed(widths[1:]))
        self.join = nn.ModuleList(twice(w, w // 2, dropout) for w in reversed(widths[1:]))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            seen.append(x)
        for grow, join in zip(self.up, self.join, strict=True):
            beside = seen[-2]
            seen.pop()
            x = join(torch.cat([grow(x), beside], 1))
        return self.head(x)


def unet(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> UNet:
    return UNet(dropout, width, layers)


def segment(model: nn.Module, image: Tensor, mask: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(model(image), mask)


FAMILIES = {"U-Net": Family(unet, segment, blobs, optimizer=SGD(0.01, momentum=0.9))}
