"""The vectorised SHA-256 against the standard library's."""

from __future__ import annotations

import random
from functools import cache

import pytest

from tallystick.commitment import HashlibHasher
from tallystick.engine.sha256 import VectorHasher, fractional_bits
from tallystick.engine.target import Isa, Target, runnable


@cache
def hasher(isa: Isa) -> VectorHasher:
    return VectorHasher(Target(isa))


@pytest.mark.parametrize("isa", runnable())
@pytest.mark.parametrize("size", [64, 128, 1024, 100])
@pytest.mark.parametrize("messages", [0, 0.5, 1, 15, 16, 17, 33.25])
def test_digests_are_those_of_hashlib(isa: Isa, size: int, messages: float) -> None:
    data = random.Random(size).randbytes(int(messages * size))
    for prefix in (b"\x00", b"\xff", b"", b"two"):
        assert hasher(isa).digests(prefix, data, size) == HashlibHasher().digests(prefix, data, size)


def test_data_may_start_anywhere() -> None:
    data = random.Random(1).randbytes(1024 * 40 + 3)
    for start in range(3):
        view = memoryview(data)[start:]
        assert hasher(runnable()[0]).digests(b"\0", view, 1024) == HashlibHasher().digests(b"\0", view, 1024)


def test_constants_are_those_of_the_standard() -> None:
    assert fractional_bits(2, 8)[0] == 0x6A09E667
    assert fractional_bits(3, 64)[0] == 0x428A2F98
    assert fractional_bits(3, 64)[63] == 0xC67178F2
