"""Files that are either whole or absent, whatever happens to the process or the power."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from tallystick.store.trouble import explained

TEMPORARY = ".tmp"
PIECE = 1 << 22  # bytes read at a time


def write_file(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a file atomically: a reader sees the old file or the new one, never a part.

    Raises: ResourceError if the disk is full, JobError if the folder cannot be written.
    """

    def fill(file: BinaryIO) -> Path:
        for piece in pieces:
            file.write(piece)
        return path

    write_with(path.parent, fill)


def write_with(folder: Path, fill: Callable[[BinaryIO], Path]) -> Path:
    """Write a file whose name is known only when its content is: ``fill`` writes it and returns where it belongs.

    The temporary file lies in the same folder, because a rename is atomic only within one file system. The file is
    flushed before the rename and the folder after it, or a power cut could leave a name without its content.
    """
    temporary = folder / f".{os.getpid()}-{os.urandom(8).hex()}{TEMPORARY}"
    with explained("write", folder):
        try:
            with temporary.open("xb") as file:
                path = fill(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    return path


def share_file(path: Path, other: Path, copied: bool = True) -> None:
    """Give a file that is never written to again a second name, or where that cannot be, and if asked, a copy.

    Raises: ResourceError, JobError.
    """
    with suppress(OSError):
        os.link(path, other)
        return
    if copied:
        with explained("read", path), path.open("rb") as file:
            write_file(other, iter(partial(file.read, PIECE), b""))


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder durable."""
    if os.name == "nt":  # Windows does this itself and cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporaries(folder: Path) -> None:
    """Remove what killed writers left behind. Only for a folder that nobody else writes to."""
    with explained("write", folder):
        for leftover in folder.glob(f".*{TEMPORARY}"):
            leftover.unlink(missing_ok=True)
