"""Numbers that go wrong first, and how far apart two results are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SPECIAL = [
    *(0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, 7.0, -7.0, 0.1, -0.3),
    *(1e-45, -1e-45, 1e-40, -1e-40, 1.1754944e-38, 1e-20, -1e-20, 1e-7),
    *(88.5, -88.5, 104.0, -104.0, 1e4, -1e4, 16777216.0, 1e10, -1e20, 3.4e38, -3.4e38),
    *(float("inf"), float("-inf"), float("nan")),
]


def floats(seed: int = 0, ordinary: int = 24) -> Tensor:
    """Special values, and some ordinary ones of several sizes."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=ordinary) * 10.0 ** rng.integers(-2, 3, ordinary)
    return torch.tensor(np.concatenate([SPECIAL, drawn]), dtype=torch.float32)


def float_pairs() -> tuple[Tensor, Tensor]:
    """Every pair of a choice of special and ordinary values."""
    values = torch.tensor(
        [0.0, -0.0, 1.0, -1.0, 2.5, -3.0, 0.1, 1e-45, -1e-40, 1e20, -3e38, float("inf"), float("-inf"), float("nan")]
    )
    return values.repeat(len(values)), values.repeat_interleave(len(values))


def integers() -> Tensor:
    return torch.tensor([0, 1, -1, 2, -2, 3, 7, -7, 8, 100, -100, 65536, 2**31 - 1, -(2**31)], dtype=torch.int32)


def integer_pairs() -> tuple[Tensor, Tensor]:
    values = integers()
    return values.repeat(len(values)), values.repeat_interleave(len(values))


def assert_same_bits(got: np.ndarray, want: np.ndarray) -> None:
    """Equal to the bit, any NaN being as good as another."""
    assert got.shape == want.shape, f"shape {got.shape}, not {want.shape}"
    if want.dtype != np.float32:
        np.testing.assert_array_equal(got, want)
        return
    same = (got.view(np.uint32) == want.view(np.uint32)) | (np.isnan(got) & np.isnan(want))
    assert same.all(), f"{got[~same][:5]} instead of {want[~same][:5]} (first at {np.flatnonzero(~same)[:5]})"


def assert_within_ulps(got: np.ndarray, exact: np.ndarray, ulps: float) -> None:
    """Within so many units in the last place of results in double precision; NaN and infinities alike."""
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    finite = np.isfinite(rounded) & np.isfinite(got)
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    unit = np.spacing(np.abs(rounded[finite])).astype(np.float64)
    error = np.abs(got[finite].astype(np.float64) - exact[finite]) / unit
    assert (error <= ulps).all(), f"{error.max():.2f} ulps at {got[finite][error.argmax()]}"
