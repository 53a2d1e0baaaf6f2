"""Reading files that a stranger may have written: regular files only, of a size known before the first byte."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tallystick.errors import IntegrityError
from tallystick.store.trouble import explained


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[int, int]]:
    """A descriptor and the size of a regular file.

    Raises: IntegrityError if it is missing or no regular file, JobError if it cannot be read.
    """
    with explained("read", path):
        try:
            # A named pipe put in a file's place must not make us wait for a writer.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except (FileNotFoundError, NotADirectoryError):
            raise IntegrityError(f"{path} is missing") from None
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise IntegrityError(f"{path} is not a regular file")
            yield descriptor, facts.st_size
        finally:
            os.close(descriptor)


def read_file(path: Path, limit: int) -> bytes:
    """The whole of a file of at most ``limit`` bytes.

    Raises: IntegrityError if it is missing or longer, JobError if it cannot be read.
    """
    with open_regular(path) as (descriptor, size):
        if size > limit:
            raise IntegrityError(f"{path} has {size} bytes, more than the {limit} allowed")
        pieces, left = [], limit + 1
        while left and (piece := os.read(descriptor, left)):
            pieces.append(piece)
            left -= len(piece)
        if not left:
            raise IntegrityError(f"{path} grew beyond the {limit} bytes allowed while it was read")
        return b"".join(pieces)


def map_file(path: Path, nbytes: int) -> np.ndarray:
    """A file of exactly ``nbytes`` bytes as a read-only uint8 array, mapped, not read.

    Raises: IntegrityError if it is missing or has another size, JobError if it cannot be read.
    """
    with open_regular(path) as (descriptor, size):
        if size != nbytes:
            raise IntegrityError(f"{path} has {size} bytes where {nbytes} belong")
        if nbytes == 0:  # an empty file cannot be mapped
            return np.empty(0, np.uint8)
        try:
            return np.frombuffer(mmap.mmap(descriptor, nbytes, access=mmap.ACCESS_READ), np.uint8)
        except ValueError:
            raise IntegrityError(f"{path} became shorter while it was read") from None
