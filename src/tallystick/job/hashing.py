"""Which hasher a job uses."""

from __future__ import annotations

from functools import cache

from tallystick.commitment import Hasher, HashlibHasher

SWITCH = 256 << 20  # bytes


@cache
def vector_hasher() -> Hasher:
    """The generated hasher; made once per process."""
    from tallystick.engine.sha256 import VectorHasher

    return VectorHasher()


class JobHasher:
    """hashlib for the first ``SWITCH`` bytes, then code generated for this processor.

    Generating the code takes about as long as hashing so much with hashlib: a small job never needs it, a large one
    soon has it back. Which one hashes never changes a digest.
    """

    def __init__(self) -> None:
        self._hasher: Hasher = HashlibHasher()
        self._left = SWITCH

    def digests(self, prefix: bytes, data: bytes | bytearray | memoryview, size: int) -> bytes:
        """See ``Hasher.digests``."""
        if self._left > 0:
            self._left -= len(data)
            if self._left <= 0:
                self._hasher = vector_hasher()
        return self._hasher.digests(prefix, data, size)
