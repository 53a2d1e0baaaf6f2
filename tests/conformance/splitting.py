"""Makes the engine share out even the smallest work, so that small programs run the way large ones do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tallystick.engine import driver, folds, gemm_blocking, rows, scatters, schedule

CHOICES = [
    (rows, "TASK_NS", 1.0),
    (folds, "SPLIT_NS", 0.0),
    (schedule, "SMALL_NS", 0.0),
    (schedule, "MERGED_NS", 0.0),
    (scatters, "STRIPE_NS", 1.0),
    (scatters, "FILL_CHUNK", 64),
    (driver, "COPY_CHUNK", 64),
    (schedule, "COPY_CHUNK", 64),
    (gemm_blocking, "CHUNK", 8),
    (gemm_blocking, "SLOW_WORDS", 64),
    (gemm_blocking, "FAST_WORDS", 512),
    (gemm_blocking, "SHARED_WORDS", 64),
    (gemm_blocking, "NEAR_WORDS", 64),
    (gemm_blocking, "SMALL_TASK", 1),
    (gemm_blocking, "FEW_WORK", 1),
    (gemm_blocking, "PACK_GROUP", 1),
]
"""Estimates and sizes that only change speed."""


@contextmanager
def split_everything() -> Iterator[None]:
    """The engine's choices as they would be if every piece of work were large."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in CHOICES:
            patch.setattr(module, name, value)
        yield
