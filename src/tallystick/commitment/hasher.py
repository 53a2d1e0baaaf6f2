"""SHA-256 over many short messages: the one operation that commitments spend their time in."""

from __future__ import annotations

from hashlib import sha256
from typing import Protocol


class Hasher(Protocol):
    """Something that hashes many messages of one size at once."""

    def digests(self, prefix: bytes, data: bytes | bytearray | memoryview, size: int) -> bytes:
        """The digests of ``prefix + piece`` for all pieces of ``size`` bytes of ``data``, one after the other.

        The last piece may be short. Shapes: ``data`` n bytes -> 32 * ceil(n / size) bytes.
        """
        ...


class HashlibHasher:
    """The standard library's SHA-256, one message at a time.

    Threads would not help: hashlib lets go of the interpreter only for messages above 2 KiB, and a chunk has one.
    """

    def digests(self, prefix: bytes, data: bytes | bytearray | memoryview, size: int) -> bytes:
        """See ``Hasher.digests``."""
        view = memoryview(data).cast("B")
        started = sha256(prefix)
        out = []
        for start in range(0, len(view), size):
            state = started.copy()
            state.update(view[start : start + size])
            out.append(state.digest())
        return b"".join(out)
