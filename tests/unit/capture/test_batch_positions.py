"""The rows of a step, exactly, in 32-bit arithmetic, however long the run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tallystick.capture.steps.batches import batch_positions
from wrapped_words import Wrapping

LIMIT = 1 << 31


@pytest.mark.parametrize(
    "batch_size, rows, steps",
    [
        (4, 100, 20),  # never wraps
        (4, 10, 20),  # wraps
        (7, 7, 1000),  # the batch is all there is
        (1, 1, 5),
        (4096, 1_000_003, 2_000_000_000),  # step * batch_size beyond 32 bits
        (65_535, 2_147_483_629, LIMIT - 1),  # rows near the limit
        (100_000, 100_000, LIMIT - 1),
        (3, LIMIT - 1, LIMIT - 1),
    ],
)
def test_positions_are_exact(batch_size: int, rows: int, steps: int) -> None:
    for step in {0, 1, steps // 3, steps // 2 + 1, steps - 1}:
        with Wrapping():
            positions = batch_positions(torch.tensor([step]), batch_size, rows, steps)
        expected = (step * batch_size + np.arange(batch_size, dtype=object)) % rows
        assert positions.shape == (batch_size,)
        assert (positions.numpy() == expected.astype(np.int64)).all()
