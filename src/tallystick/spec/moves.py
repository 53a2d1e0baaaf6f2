"""The moves of a dispute. What they mean, and when they are legal, is in ``game``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tallystick.spec.digests import ProgramHeader

DIGEST = 32  # bytes
WORDS = 1 << 32  # numbers that fit four bytes are below it


@dataclass(frozen=True, slots=True)
class RevealInterval:
    """The items at the inner boundaries of the interval, one after the other."""

    items: bytes


@dataclass(frozen=True, slots=True)
class PointInterval:
    """The first wrong part, counted from 1; the last one says that all items revealed are right. ``items`` again."""

    part: int
    items: bytes


@dataclass(frozen=True, slots=True)
class RevealTrace:
    """The header of the program, the trace root of the disputed step, and its first children (none of one value)."""

    header: ProgramHeader
    trace_root: bytes
    children: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PointGather:
    """All values of the step are right, so the state after it was not made of them."""


@dataclass(frozen=True, slots=True)
class RevealChildren:
    """The digests some levels below the node."""

    children: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PointChild:
    """A wrong child: its number, its digest, and the path from it to the node."""

    child: int
    digest: bytes
    siblings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ProveInput:
    """What the agreed state (or the constants) holds at the disputed value, with its path."""

    digest: bytes
    siblings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ProveSlot:
    """Which value the program puts into the disputed slot, and that value's digest in the agreed trace."""

    header: ProgramHeader
    type_bytes: bytes
    next_value: int
    slot_siblings: tuple[bytes, ...]
    digest: bytes
    trace_siblings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RevealTensor:
    """The kernel that makes the disputed value, with its path; the value's chunk root and its first children."""

    header: ProgramHeader
    number: int
    first_value: int
    kernel: bytes
    kernel_siblings: tuple[bytes, ...]
    chunk_root: bytes
    children: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RevealChunk:
    """The bytes of the disputed chunk."""

    chunk: bytes


@dataclass(frozen=True, slots=True)
class PointElement:
    """A wrong element of the chunk, counted from its start. ``chunk`` again."""

    number: int
    chunk: bytes


@dataclass(frozen=True, slots=True)
class Execute:
    """Everything one scalar step needs: kernel, the agreed accumulators before it, and the words it loads."""

    first_value: int
    kernel: bytes
    accumulators: tuple[int, ...]
    witness: bytes


Move = (
    RevealInterval
    | PointInterval
    | RevealTrace
    | PointGather
    | RevealChildren
    | PointChild
    | ProveInput
    | ProveSlot
    | RevealTensor
    | RevealChunk
    | PointElement
    | Execute
)


def is_formed(move: Move) -> bool:
    """Whether a move's fields are of the types that a contract's arguments have.

    Digests have 32 bytes: with others two strings can be told apart in two ways and hash alike. Numbers are not
    negative, and accumulators and the counts of a header fit four bytes.
    """
    return all(is_field_formed(field.name, getattr(move, field.name)) for field in fields(move))


def is_field_formed(name: str, value: Any) -> bool:
    """The same of one field."""
    if isinstance(value, ProgramHeader):
        counts = (value.states, value.constants, value.values, value.kernels)
        roots = (value.slots_root, value.kernels_root)
        return all(map(is_word, counts)) and all(map(is_digest, roots))
    if name == "accumulators":
        return all(map(is_word, value))
    if name in ("children", "siblings", "slot_siblings", "trace_siblings", "kernel_siblings"):
        return all(map(is_digest, value))
    if name in ("digest", "trace_root", "chunk_root"):
        return is_digest(value)
    return isinstance(value, bytes) or value >= 0


def is_digest(value: bytes) -> bool:
    return len(value) == DIGEST


def is_word(value: int) -> bool:
    return 0 <= value < WORDS
