"""Words to try: a sample that leaves nothing out that could be special, and pairs for functions of two operands."""

from __future__ import annotations

from functools import cache

import numpy as np

from exhaustive.functions import Function
from exhaustive.measure import Words

PER_EXPONENT = 2048
AROUND_A_JOINT = 64


def sample(function: Function) -> Words:
    """About 2^20 words in the order of their values, -NaN first and NaN last.

    Every sign and exponent with the ends of its binade and mantissas spread evenly between; every float next to a
    joint of the function.
    """
    joints = np.array(function.joints, np.float32).view(np.uint32)
    near = (joints[:, None] + np.arange(-AROUND_A_JOINT, AROUND_A_JOINT, dtype=np.int64)).ravel().astype(np.uint32)
    positive = np.sort(np.concatenate([_every_exponent(), near]), kind="stable")
    return np.concatenate([positive[::-1] | np.uint32(1 << 31), positive])


@cache
def _every_exponent() -> Words:
    random = np.random.default_rng(0)
    step = (1 << 23) // PER_EXPONENT
    spread = np.arange(PER_EXPONENT) * step + random.integers(0, step, PER_EXPONENT)
    mantissas = np.unique(np.concatenate([spread, np.arange(4), (1 << 23) - 1 - np.arange(4), [1 << 22]]))
    return (np.arange(256)[:, None] << 23 | mantissas).ravel().astype(np.uint32)


def operands_of(function: Function, count: int, seed: int) -> tuple[Words, Words]:
    """Pairs that suit a function of two operands."""
    return points(count, seed) if function.name == "atan2" else pairs(count, seed)


def points(count: int, seed: int) -> tuple[Words, Words]:
    """Points of the plane: half of them with coordinates of like size, a quarter in a small grid with the axes, a
    quarter any words at all."""
    random = np.random.default_rng(seed)
    half, quarter = count // 2, count // 4
    first = random.integers(0, 1 << 32, half, np.uint32)
    exponent = np.clip((first >> 23 & 0xFF).astype(np.int64) + random.integers(-30, 31, half), 0, 254)
    signs = random.integers(0, 2, half) << 31
    second = (signs | exponent << 23 | random.integers(0, 1 << 23, half)).astype(np.uint32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 1.0, -1.0], np.float32)
    values = np.concatenate([special, np.arange(-16, 17, dtype=np.float32)]).view(np.uint32)
    rest = count - half - quarter
    return (
        np.concatenate([first, random.choice(values, quarter), random.integers(0, 1 << 32, rest, np.uint32)]),
        np.concatenate([second, random.choice(values, quarter), random.integers(0, 1 << 32, rest, np.uint32)]),
    )


def pairs(count: int, seed: int) -> tuple[Words, Words]:
    """Operands of a power: half of them chosen so that the result is a float or just none any more, a
    quarter small numbers that may be whole, a quarter any words at all."""
    random = np.random.default_rng(seed)
    quarter = count // 4
    ends = random.choice([-149.0, -126.0, 128.0], 2 * quarter) + random.uniform(-2, 2, 2 * quarter)
    exponent = np.where(random.random(2 * quarter) < 0.7, random.uniform(-151, 130, 2 * quarter), ends)  # of the result
    anywhere = random.integers(1, 0x7F800000, quarter)
    near_one = 0x3F800000 + np.rint(random.choice([-1, 1], quarter) * 2 ** random.uniform(0, 22, quarter))
    bases = np.concatenate([anywhere, near_one.astype(np.int64)]).astype(np.uint32)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        powers = (exponent / np.log2(bases.view(np.float32).astype(np.float64))).astype(np.float32).view(np.uint32)
    small = (random.integers(-64, 65, quarter) / random.choice([1, 2], quarter)).astype(np.float32).view(np.uint32)
    signed = random.integers(0, 1 << 32, quarter, np.uint32)
    rest = count - 3 * quarter
    return (
        np.concatenate([bases, signed, random.integers(0, 1 << 32, rest, np.uint32)]),
        np.concatenate([powers, small, random.integers(0, 1 << 32, rest, np.uint32)]),
    )
