"""Giving pieces of one block of memory to what is in use at different times."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

ALIGNMENT = 64
STAGGER = 5 * 64  # so that buffers of equal size do not all start at the same place of a page, which caches dislike


@dataclass(slots=True)
class Buffer:
    """A piece of the arena and when it is in use, first and last time included."""

    size: int
    first: int
    last: int
    offset: int = 0


def padded(size: int) -> int:
    """Bytes taken by a buffer, so that the next one is aligned and staggered."""
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT + STAGGER


def place(buffers: list[Buffer]) -> int:
    """Give buffers that are in use at the same time different places; the bytes they take together.

    Large ones first, each in the lowest gap that fits: simple, and close to the least possible for programs like ours.
    """
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first)):
        offset = 0
        for other in placed:  # by offset
            if other.last < buffer.first or buffer.last < other.first:
                continue
            if offset + buffer.size <= other.offset:
                break
            offset = max(offset, other.offset + other.size)
        buffer.offset = offset
        insort(placed, buffer, key=lambda b: b.offset)
    return max((buffer.offset + buffer.size for buffer in placed), default=0)
