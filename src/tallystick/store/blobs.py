"""Immutable blobs named by their digest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from tallystick.errors import IntegrityError
from tallystick.store.atomic import share_file, write_file, write_with
from tallystick.store.files import map_file
from tallystick.store.trouble import explained

DIGEST_BYTES = 32


class Digesting(Protocol):
    """Something that makes a digest from bytes as they pass by."""

    def update(self, data: bytes | memoryview) -> object: ...
    def digest(self) -> bytes: ...


class Blobs:
    """One folder of blobs, each in the file ``<digest in hex><suffix>``.

    Paths are built from 32-byte digests only, never from a name that came from outside. What a digest means (tensor,
    state) is the caller's business: reading takes a function that computes it from the bytes.
    """

    def __init__(self, folder: Path, suffix: str = "") -> None:
        self.folder = folder
        self.suffix = suffix
        self._name = re.compile(f"[0-9a-f]{{{2 * DIGEST_BYTES}}}{re.escape(suffix)}")

    def create(self) -> None:
        """Make the folder. Raises: JobError if it cannot be made."""
        with explained("write", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: bytes) -> Path:
        """Where the blob of a digest lies, whether or not it is there."""
        assert len(digest) == DIGEST_BYTES, "a digest has 32 bytes"
        return self.folder / (digest.hex() + self.suffix)

    def __contains__(self, digest: bytes) -> bool:
        return self.path(digest).is_file()

    def has(self, digest: bytes, nbytes: int) -> bool:
        """Whether there is a file of this size for a digest. Its content is not looked at."""
        path = self.path(digest)
        return path.is_file() and path.stat().st_size == nbytes

    def digests(self) -> set[bytes]:
        """The digests there are files for. The files' content is not looked at."""
        if not self.folder.is_dir():
            return set()
        with explained("read", self.folder):
            names = [entry.name for entry in self.folder.iterdir()]
        return {bytes.fromhex(name[: 2 * DIGEST_BYTES]) for name in names if self._name.fullmatch(name)}

    def put(self, digest: bytes, pieces: Iterable[bytes | memoryview]) -> None:
        """Store a blob whose digest the caller has computed. Raises: ResourceError, JobError."""
        write_file(self.path(digest), pieces)

    def put_stream(self, pieces: Iterable[bytes | memoryview], digesting: Digesting) -> bytes:
        """Store a blob under the digest of exactly the bytes written, in one pass. Raises: ResourceError, JobError."""

        def fill(file: BinaryIO) -> Path:
            for piece in pieces:
                file.write(piece)
                digesting.update(piece)
            return self.path(digesting.digest())

        return bytes.fromhex(write_with(self.folder, fill).name[: 2 * DIGEST_BYTES])

    def open(self, digest: bytes, nbytes: int, digest_of: Callable[[np.ndarray], bytes]) -> np.ndarray:
        """The bytes of a blob as a read-only mapped uint8 array of ``nbytes``, after its digest was checked.

        Raises: IntegrityError if the file is missing, has another size or other content.
        """
        data = self.open_unchecked(digest, nbytes)
        if digest_of(data) != digest:
            raise IntegrityError(f"{self.path(digest)} does not hold what its name says: its content has changed")
        return data

    def open_unchecked(self, digest: bytes, nbytes: int) -> np.ndarray:
        """The bytes of a blob that may be damaged, for somebody who wants to find the damage."""
        return map_file(self.path(digest), nbytes)

    def share(self, digests: Iterable[bytes], other: Blobs, copied: bool = False) -> None:
        """Let another folder hold these blobs, too, as far as they are here: as one file with two names.

        Where the file system cannot do that, they are ``copied``, or left out. Raises: ResourceError, JobError.
        """
        for digest in (self.digests() & set(digests)) - other.digests():
            share_file(self.path(digest), other.path(digest), copied)

    def remove(self, digest: bytes) -> None:
        """Forget a blob; nothing happens if it is not there. Raises: JobError.

        This is not made durable: a blob that comes back after a power cut does no harm, and flushing costs time.
        """
        with explained("write", self.folder):
            self.path(digest).unlink(missing_ok=True)
