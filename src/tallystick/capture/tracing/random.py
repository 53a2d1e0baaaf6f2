"""Randomness inside a program: Philox4x32-10, counted by element and step.

A draw is a pure function of (seed, step, site, element): the key is the seed's two words, the counter is
(element // 4, step, site, 0), the element takes word element % 4. A *site* is one random operator of the user's code,
numbered in the order of execution; what a checkpoint runs again in the backward pass is the same sites again.
Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tallystick.capture.tracing.draws import DRAWS, INSTEAD
from tallystick.capture.tracing.provenance import here
from tallystick.errors import CaptureError

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
SEEDS = 1 << 64
SITES = 1 << 31
FIRST_SITE = 0x7A11 << 40  # as a seed of PyTorch's generator while a step is traced
_MARK = 0x7A115715  # a seed to know a generator by
_OTHERS = (
    "rand, randn, randint, randperm, bernoulli, dropout, multinomial, normal, exponential, gamma and Dirichlet numbers "
    "can, or put random numbers into the data"
)

_LIBRARY = torch.library.Library("tallystick", "DEF")
_LIBRARY.define("philox(Tensor step, int blocks, int seed, int site) -> (Tensor, Tensor, Tensor, Tensor)")


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

    The number of the next site is kept as the seed of PyTorch's generator, above numbers that people take for seeds:
    whoever saves the generator's state and sets it back, as checkpoints do, draws the same numbers again, and whoever
    seeds it anew is noticed.
    """

    def __init__(self, step: Tensor, seed: int, reseeding: bool = True) -> None:
        """Without ``reseeding`` a step may not seed the generator itself: each would draw the same in PyTorch."""
        super().__init__()
        self._reseeding = reseeding
        self._step = step
        self._seed = seed

    def __enter__(self) -> Sampler:
        self._before = torch.default_generator.get_state()
        torch.default_generator.manual_seed(FIRST_SITE)
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        torch.default_generator.set_state(self._before)

    def _next_site(self) -> int:
        seed = torch.default_generator.initial_seed()
        ours = FIRST_SITE <= seed < FIRST_SITE + SITES
        if not ours and not self._reseeding:
            raise CaptureError(
                f"the step seeds PyTorch's generator (torch.manual_seed) before it draws{here()}: in PyTorch every "
                "step would draw the same numbers, and here they are counted by the step. Leave the seed out, the job "
                "has one; for numbers that stay the same, draw them before the job and let the loss close over them"
            )
        torch.default_generator.manual_seed(seed + 1)
        return (seed - FIRST_SITE if ours else seed) % SITES

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in DRAWS:
            return DRAWS[func](self, *_without_generator(func, args), **_without_generator(func, kwargs))
        if func not in INSTEAD and torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        instead = INSTEAD.get(func, _OTHERS)
        raise CaptureError(f"{func} cannot be drawn inside a program{here()}; {instead}")

    def uniform(self, shape: Any, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Multiples of 2^-24 in [0, 1), scaled to [low, high)."""
        elements = math.prod(shape)
        words = torch.ops.tallystick.philox(self._step, (elements + 3) // 4, self._seed, self._next_site())
        drawn = torch.stack(words, dim=-1).reshape(-1)[:elements].reshape(list(shape))
        return drawn if (low, high) == (0.0, 1.0) else drawn * (high - low) + low

    def fine(self, shape: Any) -> Tensor:
        """Numbers in [2^-49, 1), spaced by 2^-48 near 0: a uniform number, and another below its last digit."""
        fraction = self.uniform(shape) * 2.0**-24 + 2.0**-49
        return (self.uniform(shape) + fraction).clamp(max=1.0 - 2.0**-24)

    def exponential(self, shape: Any) -> Tensor:
        """-log of a uniform number, never 0 and never infinite: between 2^-49 and 16.7."""
        return -torch.log1p(-self.fine(shape))

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


def _without_generator(func: Any, given: Any) -> Any:
    """Arguments without the generator, which may be PyTorch's own or None; another one is refused.

    Raises: CaptureError for a generator of the user's, whose state a program does not know.
    """
    items = given.items() if isinstance(given, dict) else enumerate(given)
    if any(isinstance(value, torch.Generator) and not _is_default(value) for _, value in items):
        raise CaptureError(
            f"{func} draws from a generator of its own{here()}: in a program all numbers come from the job's seed, the "
            "step and the place of the draw, so that seeding a generator does nothing. Leave generator= out and give "
            "the job a seed, or draw outside of the step and pass the numbers as data"
        )
    if isinstance(given, dict):
        return {key: value for key, value in given.items() if key != "generator"}
    return [value for value in given if not isinstance(value, torch.Generator)]


def _is_default(generator: torch.Generator) -> bool:
    """Whether this is PyTorch's own generator, which arrives here as another object of Python."""
    before = torch.default_generator.get_state()
    try:
        torch.default_generator.manual_seed(_MARK)
        if generator.initial_seed() != _MARK:
            return False
        torch.default_generator.manual_seed(_MARK + 1)
        return generator.initial_seed() == _MARK + 1
    finally:
        torch.default_generator.set_state(before)
