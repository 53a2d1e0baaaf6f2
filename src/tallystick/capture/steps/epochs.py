"""A new order of the rows in every epoch, computed inside the program: from an epoch and a place in it to a row.

For every epoch the map is a permutation of all rows, by construction: it is made of steps that each are one. A round
turns all places by a random distance, then mixes the lowest power of two of them among themselves, then the highest;
together these cover all. A block of 2^b places is mixed by operations on b bits that can be undone: exclusive or with a
key, or its sum (both, or the mixing of four places would undo itself), products with odd numbers, and
``y ^ (y >> s)``. A key is a block of Philox for every round of every epoch; its counter (epoch, round, ORDER_SITE, 1)
is that of no other draw.

Eight rounds: with six, chi-square tests of places, of neighbours and of epochs that follow each other see no difference
from a perfect shuffle; ``tests/unit/capture/test_epochs.py`` has them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tallystick.capture.steps.batches import ORDER_SITE
from tallystick.capture.tracing.random import philox, seed_words

ROUNDS = 8
ODD = (0x9E3779B1, 0x85EBCA6B)
APART = 1  # the last word of the counter; other draws have 0 there

_LIBRARY = torch.library.Library("tallystick", "FRAGMENT")
_LIBRARY.define("epoch_order(Tensor epoch, Tensor place, int rows, int low, int high) -> Tensor")


@torch.library.impl(_LIBRARY, "epoch_order", "Meta")
def _shape(epoch: Tensor, place: Tensor, rows: int, low: int, high: int) -> Tensor:
    return torch.empty(place.shape, dtype=torch.int64, device="meta")


@torch.library.impl(_LIBRARY, "epoch_order", "CPU")
def _values(epoch: Tensor, place: Tensor, rows: int, low: int, high: int) -> Tensor:
    seed = (low & 0xFFFFFFFF) | (high & 0xFFFFFFFF) << 32
    return torch.from_numpy(epoch_order(epoch.numpy(), place.numpy(), rows, seed))


def ordered(epoch: Tensor, place: Tensor, rows: int, seed: int) -> Tensor:
    """``epoch_order`` of tensors. The operator takes the seed's words as signed numbers: integers have 32 bits."""
    low, high = (word - (word >> 31 << 32) for word in seed_words(seed))
    return torch.ops.tallystick.epoch_order(epoch, place, rows, low, high)


def block_of(rows: int) -> tuple[int, int, int]:
    """The largest power of two not above the number of rows: its bits, itself, and how far a mixed word is shifted."""
    bits = rows.bit_length() - 1
    return bits, 1 << bits, max(1, bits // 2)


def epoch_order(epoch: np.ndarray, place: np.ndarray, rows: int, seed: int) -> np.ndarray:
    """The row at a place of an epoch. Shapes: (n,), (n,) -> (n,), int64. Needs 0 <= place < rows < 2^31."""
    _, size, shift = block_of(rows)
    epochs, at = np.unique(epoch, return_inverse=True)
    x = place.astype(np.uint64)
    for number in range(ROUNDS):
        counter = np.zeros((len(epochs), 4), np.uint32)
        counter[:, 0], counter[:, 1], counter[:, 2], counter[:, 3] = epochs, number, ORDER_SITE, APART
        turn, low, high, factor = philox(counter, seed_words(seed)).astype(np.uint64)[at].T
        x = (x + (turn * np.uint64(rows) >> np.uint64(32))) % np.uint64(rows)
        x = _mixed(x, 0, size, shift, lambda y, low=low, factor=factor: (y ^ low) * (factor | np.uint64(1)))
        x = _mixed(x, rows - size, size, shift, lambda y, high=high: (y + high) * np.uint64(ODD[0]))
    return x.astype(np.int64)


def _mixed(x: np.ndarray, first: int, size: int, shift: int, keyed: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Places ``first`` to ``first + size - 1`` mixed among themselves; the others stay."""
    mask = np.uint64(size - 1)
    inside = (x >= first) & (x < first + size)
    y = keyed((x - np.uint64(first)) & mask) & mask
    y ^= y >> np.uint64(shift)
    y = (y * np.uint64(ODD[1])) & mask
    y ^= y >> np.uint64(shift)
    return np.where(inside, y + np.uint64(first), x)
