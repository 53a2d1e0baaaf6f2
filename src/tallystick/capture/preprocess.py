"""Preparing data: plain functions of PyTorch tensors, for use inside a program or out of it.

What is random draws with PyTorch's own functions: inside a program these are numbers that the seed, the step and the
example decide, so that every epoch sees other crops and everybody who repeats the run sees the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


class Packed(NamedTuple):
    """Documents cut into windows. Shapes: (windows, length), int64.

    ``tokens``     the documents one after the other, then padding
    ``segments``   which document of its window a token belongs to, counted from 0 without empty ones; -1 for padding
    ``positions``  the token's place in its document, counted from where the document or the window begins
    """

    tokens: Tensor
    segments: Tensor
    positions: Tensor


# TABLES
def mean_and_std(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every column over all rows, divided by their number. Shapes: (rows, ...) -> (...).

    Two passes: the squares are of centred values, so nothing cancels. The mean is counted from the first row: that of
    a constant column is exact.
    """
    mean = x[0] + (x - x[0]).mean(0)
    return mean, (x - mean).square().mean(0).sqrt()


def standardise(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Columns with mean 0 and standard deviation 1; constant ones become 0. Shapes: (rows, ...), (...), (...)."""
    return (x - mean) / torch.where(std == 0.0, 1.0, std)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """1 at the label, 0 elsewhere; all 0 for a label that is no class. Shapes: (...) -> (..., classes), float32."""
    return (labels[..., None] == torch.arange(classes)).float()


# IMAGES
def normalise_images(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(images / 255 - mean) / std for every channel. Shapes: (N, C, H, W), the same, float32."""
    shape = (1, len(mean), 1, 1)
    centre, scale = torch.tensor(mean).reshape(shape), torch.tensor(std).reshape(shape)
    return (images.float() / 255.0 - centre) / scale


def random_crop(images: Tensor, size: tuple[int, int], padding: int = 0) -> Tensor:
    """A part of every image, at a place drawn for it, after padding with zeros on all sides.

    Shapes: (N, C, H, W) -> (N, C, *size).
    """
    padded = F.pad(images, [padding] * 4)
    count, _, height, width = padded.shape
    top, left = (torch.randint(0, have - want + 1, (count,)) for have, want in zip((height, width), size, strict=True))
    rows = (top[:, None] + torch.arange(size[0]))[:, :, None]
    columns = (left[:, None] + torch.arange(size[1]))[:, None, :]
    example = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[example, rows, columns].permute(0, 3, 1, 2)


def random_flip(images: Tensor, probability: float = 0.5) -> Tensor:
    """Images, mirrored from left to right each with a probability. Shapes: (N, C, H, W), the same."""
    flipped = torch.rand(images.shape[0]) < probability
    return torch.where(flipped[:, None, None, None], images.flip(-1), images)


# TEXT
def pack(tokens: Tensor, lengths: Tensor, length: int, padding: int = 0) -> Packed:
    """Documents that lie one after the other, cut into windows of one length; a document may go on in the next window.

    Shapes: tokens (total,), lengths (documents,) with a sum of ``total`` -> (ceil(total / length), length) each.
    """
    total = tokens.shape[0]
    windows = -(-total // length)
    place = torch.arange(windows * length)
    starts = lengths.long().cumsum(0) - lengths.long()
    # Empty documents at the end start past the last token: they are counted at a place of their own.
    begun = torch.zeros(total + 1, dtype=torch.int64).scatter_add(0, starts, torch.ones_like(starts))
    stream, inside = place.clamp(max=total - 1), place < total
    document = (begun.cumsum(0) - 1)[stream]
    filled = (begun > 0).cumsum(0)[stream]
    window_start = place - place % length
    segments = filled - filled[window_start]
    positions = place - torch.maximum(starts[document], window_start)
    packed = (torch.where(inside, tokens.long()[stream], padding), torch.where(inside, segments, -1))
    return Packed(*(x.reshape(windows, length) for x in (*packed, torch.where(inside, positions, 0))))


def packed_mask(segments: Tensor) -> Tensor:
    """Which tokens see which: those before them in the same document. Shapes: (N, L) -> (N, 1, L, L), bool.

    Padding sees itself, so that no row of attention is empty.
    """
    place = torch.arange(segments.shape[1])
    same = segments[:, :, None] == segments[:, None, :]
    return (same & (place[None, :] <= place[:, None]))[:, None]
