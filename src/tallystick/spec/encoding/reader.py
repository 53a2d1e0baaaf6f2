"""Bounded reading of bytes from a stranger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tallystick.errors import DecodingError


class Reader:
    """Takes fields from the front of some bytes and knows, for errors, where it is.

    Nothing is read past the end, and no count is believed before the bytes it promises are known to be there.
    """

    __slots__ = ("data", "end", "offset", "path")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.data = memoryview(data).cast("B")
        self.offset = 0
        self.end = len(self.data)
        self.path: list[str] = []

    def fail(self, field: str, problem: str, offset: int | None = None) -> DecodingError:
        """The error for a field, to be raised by the caller."""
        return DecodingError(".".join([*self.path, field]), self.offset if offset is None else offset, problem)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Fields read in the block belong to ``name``."""
        self.path.append(name)
        yield
        self.path.pop()

    @contextmanager
    def bounded(self, name: str, length: int) -> Iterator[None]:
        """The block reads exactly the next ``length`` bytes."""
        outer = self.end
        self.end = self.offset + length
        with self.inside(name):
            yield
            self.finish()
        self.end = outer

    def take(self, field: str, length: int) -> memoryview:
        """The next bytes."""
        left = self.end - self.offset
        if length > left:
            raise self.fail(field, f"{length} bytes are needed and {left} are left")
        self.offset += length
        return self.data[self.offset - length : self.offset]

    def unsigned(self, field: str, width: int, low: int = 0, high: int | None = None) -> int:
        """An unsigned number of ``width`` bytes within ``low..high``."""
        start = self.offset
        number = int.from_bytes(self.take(field, width), "little")
        if number < low or (high is not None and number > high):
            limit = f"at least {low}" if high is None else f"{low} to {high}"
            raise self.fail(field, f"{number} is out of bounds ({limit})", start)
        return number

    def integer(self, field: str) -> int:
        """A signed number of 8 bytes."""
        return int.from_bytes(self.take(field, 8), "little", signed=True)

    def count(self, field: str, width: int, limit: int, size: int) -> int:
        """How many things of at least ``size`` bytes follow, each of which must still be there."""
        start = self.offset
        number = self.unsigned(field, width, 0, limit)
        left = self.end - self.offset
        if number * size > left:
            raise self.fail(field, f"{number} need at least {number * size} bytes and {left} are left", start)
        return number

    def finish(self) -> None:
        """Nothing may be left."""
        if self.offset != self.end:
            raise self.fail("end", f"{self.end - self.offset} bytes too many")
