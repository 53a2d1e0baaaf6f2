"""Which rows of the dataset a step sees, computed inside the program from the step number."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tallystick.capture.tracing.random import philox_words

_WORDS = 1 << 31
ORDER_SITE = 0xFFFFFFFF  # of the random words that shuffle; those of the model's own draws count from 0
ROWS_AT_ONCE = 1 << 20


def shuffled_order(rows: int, seed: int) -> np.ndarray:
    """A permutation of the rows: they are sorted by 64 random bits each, equal bits in order. Shape (rows,), int32."""
    keys = np.empty(rows, np.uint64)
    for first in range(0, rows, ROWS_AT_ONCE):
        words = philox_words(seed, ORDER_SITE, min(ROWS_AT_ONCE, rows - first), 0, first)
        keys[first : first + len(words)] = words[:, 0].astype(np.uint64) << np.uint64(32) | words[:, 1]
    return np.argsort(keys, kind="stable").astype(np.int32)


def batch_positions(step: Tensor, batch_size: int, rows: int, steps: int) -> Tensor:
    """(step * batch_size + j) % rows for j = 0 .. batch_size - 1, exactly, in 32-bit arithmetic.

    Shapes: step (1,) -> (batch_size,), int64 as PyTorch sees it. Needs batch_size <= rows < 2^31.
    """
    places = torch.arange(batch_size)
    if steps * batch_size <= rows:
        return step * batch_size + places
    if steps * batch_size < _WORDS:
        return (step * batch_size + places) % rows
    start = _product_modulo(step % rows, batch_size, rows)
    return _sum_modulo(start, places, rows)


def epoch_positions(step: Tensor, batch_size: int, rows: int, steps: int) -> tuple[Tensor, Tensor]:
    """Quotient and remainder of (step * batch_size + j) by ``rows``, exactly: epochs, and places in them.

    Shapes: step (1,) -> (batch_size,) each. Needs batch_size <= rows < 2^31.
    """
    places = torch.arange(batch_size)
    if steps * batch_size < _WORDS:
        number = step * batch_size + places
        epoch = torch.div(number, rows, rounding_mode="floor")
        return epoch, number - epoch * rows
    whole = torch.div(step, rows, rounding_mode="floor")
    epoch, start = _product_divided(step - whole * rows, batch_size, rows)
    room = rows - start
    over = places >= room
    return epoch + whole * batch_size + over.long(), torch.where(over, places - room, start + places)


def _product_divided(a: Tensor, factor: int, modulus: int) -> tuple[Tensor, Tensor]:
    """Quotient and remainder of a * factor by ``modulus``, as ``_product_modulo`` goes about it."""
    quotient, total = torch.zeros_like(a), torch.zeros_like(a)
    for bit in bin(factor)[2:]:
        quotient = quotient + quotient + (total >= modulus - total).long()
        total = _sum_modulo(total, total, modulus)
        if bit == "1":
            quotient = quotient + (a >= modulus - total).long()
            total = _sum_modulo(total, a, modulus)
    return quotient, total


def _product_modulo(a: Tensor, factor: int, modulus: int) -> Tensor:
    """a * factor % modulus by doubling and adding; every sum that is used is below ``modulus``."""
    total = torch.zeros_like(a)
    for bit in bin(factor)[2:]:
        total = _sum_modulo(total, total, modulus)
        if bit == "1":
            total = _sum_modulo(total, a, modulus)
    return total


def _sum_modulo(a: Tensor, b: Tensor, modulus: int) -> Tensor:
    """(a + b) % modulus for a and b below the modulus; the sum is used only where it cannot exceed 31 bits."""
    room = modulus - a
    return torch.where(b >= room, b - room, a + b)
