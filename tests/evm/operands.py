"""Operands for instructions, in the manner of Berkeley TestFloat: special values crossed, and drawn ones that are hard.

No code of TestFloat is here; its idea is: fractions of few ones or few zeros meet exponents near every edge.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from property.strategies import SMALL_INTEGERS, SPECIAL_WORDS

SIGN = 0x80000000
EXPONENTS = (
    *(0x00, 0x01, 0x02, 0x03, 0x18, 0x19, 0x3F, 0x40, 0x41, 0x65, 0x66, 0x67, 0x68, 0x7D, 0x7E, 0x7F, 0x80, 0x81),
    *(0x95, 0x96, 0x97, 0x98, 0x9D, 0x9E, 0x9F, 0xBF, 0xC0, 0xE5, 0xE6, 0xFC, 0xFD, 0xFE, 0xFF),
)
FRACTIONS = (0, 1, 2, 0x3FFFFF, 0x400000, 0x400001, 0x555555, 0x7FFFFE, 0x7FFFFF)
CORE = tuple(
    sign | word
    for word in (0, 0x3F800000, 0x7F800000, 0x7FC00000, 1, 0x7F7FFFFF, 0x00800000, 0x7F800001, 0x007FFFFF, 0x40400001)
    for sign in (0, SIGN)
)
"""Zero, one, infinity, NaN, the smallest and the largest of each kind: all triples of them are always tried."""


def special_words() -> np.ndarray:
    """Zeros, subnormals, ones, powers of two, full fractions, extremes, infinities, NaNs with payloads, small integers.

    The words that matter most come first.
    """
    grid = [sign | e << 23 | f for e, f, sign in product(EXPONENTS, FRACTIONS, (0, SIGN))]
    np.random.default_rng(3).shuffle(grid)
    words = [*CORE, *SPECIAL_WORDS, *SMALL_INTEGERS, *grid]
    return np.array(list(dict.fromkeys(words)), dtype=np.uint32)


def operands(arity: int, count: int, seed: int) -> np.ndarray:
    """At least ``count`` rows of operands: half are crossed special words, half are drawn. Shape: (count, arity)"""
    words = special_words()
    some = words[: min(len(words), int((count / 2) ** (1 / arity)))]
    crossed = np.stack(np.meshgrid(*[some] * arity, indexing="ij"), axis=-1).reshape(-1, arity)
    drawn = drawn_operands(np.random.default_rng(seed), count - len(crossed))
    return np.concatenate([crossed, drawn[:, :arity]])


def drawn_operands(rng: np.random.Generator, count: int) -> np.ndarray:
    """Rows of three operands, of all kinds in equal parts. Shape: (count, 3)"""
    kinds = (uniform, near, few_digits, patterned, cancelling, far_below, integers, rooted)
    parts = [kind(rng, -(-count // len(kinds))) for kind in kinds]
    return np.concatenate(parts)[:count]


def uniform(rng: np.random.Generator, count: int) -> np.ndarray:
    """Any bits."""
    return rng.integers(0, 1 << 32, (count, 3), dtype=np.uint32)


def near(rng: np.random.Generator, count: int) -> np.ndarray:
    """Normals whose exponents lie within a significand of each other, anywhere on the scale."""
    middle = rng.integers(0, 256, (count, 1))
    exponents = np.clip(middle + rng.integers(-26, 27, (count, 3)), 0, 254)
    return floats(rng.integers(0, 2, (count, 3)), exponents, rng.integers(0, 1 << 23, (count, 3)))


def few_digits(rng: np.random.Generator, count: int) -> np.ndarray:
    """Fractions of few digits: their products, quotients and sums are exact or lie right on a tie."""
    digits = rng.integers(0, 14, (count, 3))
    fractions = rng.integers(0, 1 << 23, (count, 3)) >> (23 - digits) << (23 - digits)
    exponents = rng.integers(115, 141, (count, 3))
    exponents[::4] = rng.integers(0, 140, (len(exponents[::4]), 3))  # so that results are subnormal
    return floats(rng.integers(0, 2, (count, 3)), exponents, fractions)


def patterned(rng: np.random.Generator, count: int) -> np.ndarray:
    """Fractions that are a run of ones or its complement, with one bit flipped now and then; any exponent."""
    low, high = rng.integers(0, 24, (count, 3)), rng.integers(0, 24, (count, 3))
    runs = (1 << np.maximum(low, high)) - (1 << np.minimum(low, high))
    runs ^= rng.integers(0, 2, (count, 3)) << rng.integers(0, 23, (count, 3))
    runs ^= 0x7FFFFF * rng.integers(0, 2, (count, 3))
    edges = np.array(EXPONENTS)[rng.integers(0, len(EXPONENTS), (count, 3))]
    exponents = np.where(rng.integers(0, 2, (count, 3)), edges, rng.integers(0, 256, (count, 3)))
    return floats(rng.integers(0, 2, (count, 3)), exponents, runs)


def cancelling(rng: np.random.Generator, count: int) -> np.ndarray:
    """b within some units of a or -a; c within some units of -a * b, or of its end one significand lower."""
    a, b, c = near(rng, count).T
    b = np.where(rng.integers(0, 2, count), b, a + jitter(rng, count) ^ SIGN * rng.integers(0, 2, count))
    b = b.astype(np.uint32)
    with np.errstate(all="ignore"):
        c = -(a.view(np.float32) * b.view(np.float32))
    c = np.where(np.isnan(c), np.float32(1), c).view(np.uint32) + jitter(rng, count)
    lower = np.maximum(c.astype(np.int64) - (rng.integers(22, 28, count) << 23), 0)
    return np.stack([a, b, np.where(rng.integers(0, 4, count), c, lower)], axis=1).astype(np.uint32)


def far_below(rng: np.random.Generator, count: int) -> np.ndarray:
    """b and c some 20 to 150 binary places below a and a * b, with few digits: what only tips a tie."""
    exponents = np.empty((count, 3), dtype=np.int64)
    exponents[:, 0] = rng.integers(100, 255, count)
    exponents[:, 1] = np.clip(exponents[:, 0] - rng.integers(20, 30, count), 0, 254)
    exponents[:, 2] = np.clip(exponents[:, 0] + exponents[:, 1] - 127 - rng.integers(20, 150, count), 0, 254)
    fractions = rng.integers(0, 1 << 23, (count, 3)) & np.array([0x7FFFFF, 0x7FF800, 0x600000])
    fractions *= rng.integers(0, 2, (count, 3))
    return floats(rng.integers(0, 2, (count, 3)), exponents, fractions)


def integers(rng: np.random.Generator, count: int) -> np.ndarray:
    """Integers of every length, of either sign, quotients without remainder among them."""
    words = rng.integers(0, 1 << 32, (count, 3)) >> rng.integers(0, 32, (count, 3))
    words[::4, 0] = words[::4, 1] * rng.integers(0, 1 << 8, len(words[::4])) + rng.integers(-1, 2, len(words[::4]))
    words = np.where(rng.integers(0, 2, (count, 3)), words, -words)
    return (words & 0xFFFFFFFF).astype(np.uint32)


def rooted(rng: np.random.Generator, count: int) -> np.ndarray:
    """a within some units of b * b or b * c: squares and products come back to where they were, or next to it."""
    rows = near(rng, count)
    b, c = rows[:, 1].copy(), np.where(rng.integers(0, 2, count), rows[:, 1], rows[:, 2])
    with np.errstate(all="ignore"):
        a = b.view(np.float32) * c.view(np.float32)
    rows[:, 0] = np.where(np.isnan(a), np.float32(1), a).view(np.uint32) + jitter(rng, count)
    return rows


def jitter(rng: np.random.Generator, count: int) -> np.ndarray:
    """Some units in the last place, mostly none."""
    return rng.choice(np.array([0, 0, 1, -1, 2, -2], dtype=np.int32), count).view(np.uint32)


def floats(signs: np.ndarray, exponents: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Words from their fields."""
    return (signs << 31 | exponents << 23 | fractions).astype(np.uint32)
