"""Discrete Fourier transforms as products with tables of cosines and sines.

A transform of length n costs 4 n^2 multiplications (2 n^2 where one side is real), like a linear layer of that width.
The tables are computed in float64 and rounded once. One table serves all directions: Shapes: (n, 2 n), cosines beside
negative sines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import _disable_current_modes

from tallystick.capture.decompositions.complex_numbers import Pair

aten = torch.ops.aten
BY_ROOT_N, BY_N = 1, 2  # of the ``normalization`` argument; 0 is none


def table(n: int) -> np.ndarray:
    """cos(2 pi j k / n) beside -sin(2 pi j k / n), float32 (n, 2 n)."""
    place = np.arange(n, dtype=np.int64)
    angle = place * (2.0 * math.pi / n)
    cosines, sines = np.cos(angle), np.sin(angle)
    # At quarters of a turn they are whole, which pi in float64 is not quite.
    for values in (cosines, sines):
        values[np.abs(values) < 1e-15] = 0.0
    turns = np.outer(place, place) % n
    return np.concatenate([cosines[turns], -sines[turns]], axis=1).astype(np.float32)


class Fourier:
    """The rules for transforms of one graph, which share tables."""

    def __init__(self) -> None:
        self._tables: dict[int, Tensor] = {}
        self.rules: dict[OpOverload, Callable[..., Any]] = {
            aten._fft_c2c.default: self.complex_to_complex,
            aten._fft_r2c.default: self.real_to_complex,
            aten._fft_c2r.default: self.complex_to_real,
        }

    def complex_to_complex(self, x: Pair, dim: Sequence[int], normalization: int, forward: bool) -> Pair:
        for d in dim:
            n = x.real.shape[d]
            both = self._table(n)
            first, second = (_along(part, d, both) for part in (x.real, x.imag))
            cosine, sine = (part.narrow(d, 0, n) for part in (first, second))
            ahead, behind = (part.narrow(d, n, n) for part in (first, second))
            # (a + bi)(cos - i sin), and with + i sin on the way back.
            x = Pair(cosine - behind, ahead + sine) if forward else Pair(cosine + behind, sine - ahead)
        return _scaled(x, [x.real.shape[d] for d in dim], normalization)

    def real_to_complex(self, x: Tensor, dim: Sequence[int], normalization: int, onesided: bool) -> Pair:
        *others, last = dim
        n = x.shape[last]
        kept = n // 2 + 1 if onesided else n
        both = self._table(n)
        made = _along(x, last, torch.cat([both[:, :kept], both[:, n : n + kept]], 1))
        result = _scaled(Pair(made.narrow(last, 0, kept), made.narrow(last, kept, kept)), [n], normalization)
        return self.complex_to_complex(result, others, normalization, True) if others else result

    def complex_to_real(self, x: Pair, dim: Sequence[int], normalization: int, last_dim_size: int) -> Tensor:
        *others, last = dim
        if others:
            x = self.complex_to_complex(x, others, normalization, False)
        n, given = last_dim_size, x.real.shape[last]
        # What is not given are conjugates of what is: those count twice.
        weights = torch.where((torch.arange(given) == 0) | (torch.arange(given) * 2 == n), 1.0, 2.0)
        weights = weights.view([-1 if d == last % x.real.dim() else 1 for d in range(x.real.dim())])
        both = self._table(n)
        stacked = torch.cat([x.real * weights, x.imag * weights], last)
        result = _along(stacked, last, torch.cat([both[:given, :n], both[:given, n:]], 0))
        return result * _factor([n], normalization)

    def _table(self, n: int) -> Tensor:
        if n not in self._tables:
            with _disable_current_modes():
                self._tables[n] = torch.from_numpy(table(n))
        return self._tables[n]


def _along(x: Tensor, dim: int, matrix: Tensor) -> Tensor:
    """The product of an axis with a matrix. Shapes: x (..., n, ...), matrix (n, m) -> (..., m, ...)."""
    return (x.movedim(dim, -1) @ matrix).movedim(-1, dim)


def _scaled(x: Pair, sizes: Sequence[int], normalization: int) -> Pair:
    factor = _factor(sizes, normalization)
    return x if factor == 1.0 else Pair(x.real * factor, x.imag * factor)


def _factor(sizes: Sequence[int], normalization: int) -> float:
    elements = math.prod(sizes)
    return {BY_ROOT_N: 1.0 / math.sqrt(elements), BY_N: 1.0 / elements}.get(normalization, 1.0)
