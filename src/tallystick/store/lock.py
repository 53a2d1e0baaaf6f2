"""One process at a time in one folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType

from tallystick.errors import JobError
from tallystick.store.trouble import explained

NAME = ".lock"


class FolderLock:
    """Held while a process works in a folder; the operating system lets go of it however the process ends.

    Raises: JobError on entry if another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None

    def __enter__(self) -> FolderLock:
        with explained("write", self.folder):
            descriptor = os.open(self.folder / NAME, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            take(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise JobError(
                f"another process is working in {self.folder}. Wait for it, stop it, or choose another folder."
            ) from error
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The file stays: removing it would let two processes lock two files of the same name.
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


if sys.platform == "win32":
    import msvcrt

    def take(descriptor: int) -> None:
        """Lock the file or raise OSError at once."""
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def take(descriptor: int) -> None:
        """Lock the file or raise OSError at once."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
