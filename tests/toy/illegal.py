"""Moves that nobody should be able to make: of any phase, damaged, made up, or from another game."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from typing import Any

from tallystick.spec.digests import ProgramHeader
from tallystick.spec.moves import (
    Execute,
    Move,
    PointChild,
    PointElement,
    PointGather,
    PointInterval,
    ProveInput,
    ProveSlot,
    RevealChildren,
    RevealChunk,
    RevealInterval,
    RevealTensor,
    RevealTrace,
)

LONGEST = {"chunk": 1024, "kernel": 4096, "type_bytes": 66, "items": 17_136, "witness": 44_240}  # bytes
MOST = {"children": 64, "accumulators": 68}  # others are siblings
MOST_SIBLINGS = 40
NUMBERS = (0, 1, 2, 3, 31, 32, 33, 63, 64, 1 << 20, (1 << 32) - 1)


def damaged(move: Move, rng: random.Random) -> Move:
    """The move with one field changed."""
    names = [field.name for field in fields(move)]
    if not names:
        return made_up(rng)
    name = rng.choice(names)
    return replace(move, **{name: other(name, getattr(move, name), rng)})


def other(name: str, value: Any, rng: random.Random) -> Any:
    """Another value of the same type, near or far, within what a contract's types can hold."""
    match value:
        case ProgramHeader():
            name = rng.choice([field.name for field in fields(value)])
            return replace(value, **{name: other(name, getattr(value, name), rng)})
        case int():
            return rng.choice([*NUMBERS, value ^ 1, value + 1, max(0, value - 1)]) & 0xFFFFFFFF
        case tuple():
            return other_tuple(name, value, rng)
        case _:
            return other_bytes(name, value, rng)


def other_tuple(name: str, value: tuple[Any, ...], rng: random.Random) -> tuple[Any, ...]:
    extra = rng.getrandbits(32) if name == "accumulators" else rng.randbytes(32)
    if not value or (rng.random() < 0.3 and len(value) < MOST.get(name, MOST_SIBLINGS)):
        return (*value, extra)
    at = rng.randrange(len(value))
    match rng.randrange(3):
        case 0:
            return value[:at] + value[at + 1 :]
        case 1:
            return (*value[:at], extra, *value[at + 1 :])
        case _:
            return tuple(rng.sample(value, len(value)))


def other_bytes(name: str, value: bytes, rng: random.Random) -> bytes:
    longest = LONGEST.get(name)
    if longest is not None and rng.random() < 0.4:
        return rng.choice([value[:-1], value[: len(value) // 2], (value + b"\0")[:longest], b""])
    if not value:
        return value
    at = rng.randrange(len(value))
    return value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :]


def made_up(rng: random.Random) -> Move:
    """A move of any kind with nothing in it that anybody has seen."""

    def some(most: int) -> tuple[bytes, ...]:
        return tuple(rng.randbytes(32) for _ in range(rng.randint(0, most)))

    def number() -> int:
        return rng.choice(NUMBERS)

    def blob(most: int) -> bytes:
        return rng.randbytes(rng.choice([0, 1, 32, most]))

    digest = rng.randbytes(32)
    header = ProgramHeader(number(), number(), number(), number(), digest, digest)
    return rng.choice(
        [
            RevealInterval(blob(992)),
            PointInterval(number(), blob(992)),
            RevealTrace(header, digest, some(32)),
            PointGather(),
            RevealChildren(some(32)),
            PointChild(number(), digest, some(6)),
            ProveInput(digest, some(20)),
            ProveSlot(header, blob(18), number(), some(3), digest, some(8)),
            RevealTensor(header, number(), number(), blob(300), some(4), digest, some(32)),
            RevealChunk(blob(1024)),
            PointElement(number(), blob(1024)),
            Execute(number(), blob(300), tuple(rng.getrandbits(32) for _ in range(rng.randint(0, 10))), blob(500)),
        ]
    )
