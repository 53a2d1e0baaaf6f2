"""The journal of a run: one line per finished segment, appended and flushed after the segment's state is on disk."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tallystick.errors import IntegrityError
from tallystick.job.documents import MAX_DOCUMENT
from tallystick.store import read_file, write_file
from tallystick.store.trouble import explained

LINE = re.compile(r"([0-9]{1,7}) ([0-9a-f]{64}) ([0-9]{1,15}) ([0-9]{1,15}) ([0-9]{1,15})")


@dataclass(frozen=True)
class Entry:
    """A finished segment: the state root at its end, and what it took, in milliseconds."""

    root: bytes
    run_ms: int
    hash_ms: int
    write_ms: int


class Journal:
    """The entries of a run in order. A line that was cut off by a crash, and what follows it, does not count."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Entry]:
        """All whole entries; none if there is no journal."""
        if not self.path.exists():
            return []
        try:
            text = read_file(self.path, MAX_DOCUMENT).decode("ascii", "replace")
        except IntegrityError:
            return []
        entries: list[Entry] = []
        for line in text.split("\n")[:-1]:  # what follows the last newline is not a whole line
            match = LINE.fullmatch(line)
            if match is None or int(match[1]) != len(entries):
                break
            entries.append(Entry(bytes.fromhex(match[2]), int(match[3]), int(match[4]), int(match[5])))
        return entries

    def restart(self, entries: Sequence[Entry]) -> None:
        """Replace the journal by these entries. Raises: ResourceError, JobError."""
        write_file(self.path, [line(number, entry) for number, entry in enumerate(entries)])

    def append(self, number: int, entry: Entry) -> None:
        """Add the entry of segment ``number``; it is on disk when this returns. Raises: ResourceError, JobError."""
        with explained("write", self.path), self.path.open("ab") as file:
            file.write(line(number, entry))
            file.flush()
            os.fsync(file.fileno())


def line(number: int, entry: Entry) -> bytes:
    return f"{number} {entry.root.hex()} {entry.run_ms} {entry.hash_ms} {entry.write_ms}\n".encode("ascii")
