"""Randomness inside a program: Philox4x32-10, counted by element and step.

A draw is a pure function of (seed, step, site, element): the key is the seed's two words, the counter is
(element // 4, step, site, 0), the element takes word element % 4. A *site* is one random operator of the user's code,
numbered in the order of execution; what a checkpoint runs again in the backward pass is the same sites again.
Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from tallystick.capture.tracing.provenance import here
from tallystick.errors import CaptureError

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
SEEDS = 1 << 64
SITES = 1 << 31

_LIBRARY = torch.library.Library("tallystick", "DEF")
_LIBRARY.define("philox(Tensor step, int blocks, int seed, int site) -> (Tensor, Tensor, Tensor, Tensor)")

aten = torch.ops.aten


@torch.library.impl(_LIBRARY, "philox", "Meta")
def _philox_shapes(step: Tensor, blocks: int, seed: int, site: int) -> tuple[Tensor, ...]:
    return tuple(torch.empty(blocks, dtype=torch.float32, device="meta") for _ in range(4))


@torch.library.impl(_LIBRARY, "philox", "CPU")
def _philox_values(step: Tensor, blocks: int, seed: int, site: int) -> tuple[Tensor, ...]:
    """Four numbers in [0, 1) per block: the upper 24 bits of its words. Shapes: step (1,) -> 4 times (blocks,)."""
    words = philox_words(seed, site, blocks, int(step))
    return tuple(torch.from_numpy((words[:, i] >> 8).astype(np.float32) * np.float32(2.0**-24)) for i in range(4))


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Four random words for every counter. Shapes: (n, 4) -> (n, 4), uint32."""
    words = [counter[:, i].astype(np.uint64) for i in range(4)]
    low = np.uint64(0xFFFFFFFF)
    for number in range(ROUNDS):
        keys = [np.uint64((key[i] + number * WEYL[i]) & 0xFFFFFFFF) for i in range(2)]
        first, second = words[0] * np.uint64(MULTIPLIERS[0]), words[2] * np.uint64(MULTIPLIERS[1])
        words = [
            (second >> np.uint64(32)) ^ words[1] ^ keys[0],
            second & low,
            (first >> np.uint64(32)) ^ words[3] ^ keys[1],
            first & low,
        ]
    return np.stack(words, axis=1).astype(np.uint32)


def philox_words(seed: int, site: int, blocks: int, step: int, first: int = 0) -> np.ndarray:
    """The words that a site draws at a step, from block ``first`` on. Shape (blocks, 4), uint32."""
    counter = np.zeros((blocks, 4), np.uint32)
    counter[:, 0] = np.arange(first, first + blocks, dtype=np.uint32)
    counter[:, 1] = step
    counter[:, 2] = site
    return philox(counter, seed_words(seed))


def seed_words(seed: int) -> tuple[int, int]:
    """The two words of a seed, low first."""
    return seed & 0xFFFFFFFF, seed >> 32


class Sampler(TorchDispatchMode):
    """Replaces PyTorch's random operators by draws that a program can repeat, while the user's code is traced.

    The number of the next site is kept as the seed of PyTorch's generator: whoever saves the generator's state and
    sets it back, as checkpoints do, draws the same numbers again.
    """

    def __init__(self, step: Tensor, seed: int) -> None:
        super().__init__()
        self._step = step
        self._seed = seed

    def __enter__(self) -> Sampler:
        self._before = torch.default_generator.get_state()
        torch.default_generator.manual_seed(0)
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        torch.default_generator.set_state(self._before)

    def _next_site(self) -> int:
        site = torch.default_generator.initial_seed()
        torch.default_generator.manual_seed(site + 1)
        return site % SITES

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **(kwargs or {}))
        if func not in _DRAWS:
            raise CaptureError(
                f"{func} cannot be drawn inside a program{here()}; "
                "rand, randn, randint, bernoulli and dropout can, or put random numbers into the data"
            )
        return _DRAWS[func](self, *args, **(kwargs or {}))

    def uniform(self, shape: Any, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Multiples of 2^-24 in [0, 1), scaled to [low, high)."""
        elements = math.prod(shape)
        words = torch.ops.tallystick.philox(self._step, (elements + 3) // 4, self._seed, self._next_site())
        drawn = torch.stack(words, dim=-1).reshape(-1)[:elements].reshape(list(shape))
        return drawn if (low, high) == (0.0, 1.0) else drawn * (high - low) + low

    def normal(self, shape: Any, mean: float = 0.0, std: float = 1.0) -> Tensor:
        """Box and Muller's transform of two uniform draws."""
        radius = (-2.0 * torch.log(1.0 - self.uniform(shape))).sqrt()
        drawn = radius * torch.cos(self.uniform(shape) * (2.0 * math.pi))
        return drawn if (mean, std) == (0.0, 1.0) else drawn * std + mean

    def integers(self, shape: Any, low: int, high: int) -> Tensor:
        """Integers in [low, high), at most 2^24 different ones, each with a probability within 2^-24 of equal."""
        if not 0 < high - low <= 1 << 24:
            raise CaptureError(f"random integers between {low} and {high}{here()}: draw at most 2^24 different ones")
        return (self.uniform(shape) * float(high - low)).long().clamp(max=high - low - 1) + low


def _like(drawn: Tensor, x: Tensor | None, options: dict[str, Any]) -> Tensor:
    dtype = options.get("dtype") or (x.dtype if x is not None else None)
    return drawn if dtype is None else drawn.to(dtype)


def _integers(sampler: Sampler, shape: Any, low: int, high: int, options: dict[str, Any]) -> Tensor:
    return sampler.integers(shape, low, high).to(options.get("dtype") or torch.int64)


def _native_dropout(sampler: Sampler, x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    if train is False:
        return x, torch.ones_like(x, dtype=torch.bool)
    kept = sampler.uniform(x.shape) < 1.0 - p
    return x * kept * (1.0 / (1.0 - p) if p < 1.0 else 0.0), kept


_DRAWS: dict[OpOverload, Callable[..., Any]] = {
    aten.bernoulli.default: lambda s, x, **o: (s.uniform(x.shape) < x).to(x.dtype),
    aten.bernoulli.p: lambda s, x, p, **o: (s.uniform(x.shape) < p).to(x.dtype),
    aten.bernoulli_.float: lambda s, x, p=0.5, **o: x.copy_(s.uniform(x.shape) < p),
    aten.bernoulli_.Tensor: lambda s, x, p, **o: x.copy_(s.uniform(x.shape) < p),
    aten.rand.default: lambda s, shape, **o: _like(s.uniform(shape), None, o),
    aten.rand_like.default: lambda s, x, **o: _like(s.uniform(x.shape), x, o),
    aten.uniform_.default: lambda s, x, low=0.0, high=1.0, **o: x.copy_(s.uniform(x.shape, low, high)),
    aten.randn.default: lambda s, shape, **o: _like(s.normal(shape), None, o),
    aten.randn_like.default: lambda s, x, **o: _like(s.normal(x.shape), x, o),
    aten.normal_.default: lambda s, x, mean=0.0, std=1.0, **o: x.copy_(s.normal(x.shape, mean, std)),
    aten.randint.default: lambda s, high, shape, **o: _integers(s, shape, 0, high, o),
    aten.randint.low: lambda s, low, high, shape, **o: _integers(s, shape, low, high, o),
    aten.randint_like.default: lambda s, x, high, **o: _integers(s, x.shape, 0, high, {"dtype": x.dtype} | o),
    aten.native_dropout.default: _native_dropout,
}
