"""Room on the disk, asked for before it is needed."""

from __future__ import annotations

import shutil
from pathlib import Path

from tallystick.errors import ResourceError
from tallystick.store.trouble import explained


def require_space(folder: Path, nbytes: int, purpose: str) -> None:
    """Refuse early what could not be finished.

    Raises: ResourceError if the folder's disk has fewer than ``nbytes`` bytes free.
    """
    with explained("read", folder):
        free = shutil.disk_usage(folder).free
    if free < nbytes:
        raise ResourceError(
            f"{purpose} needs {readable(nbytes)} in {folder}, but its disk has {readable(free)} free. Free some space, "
            "keep fewer states, or choose a folder on another disk."
        )


def readable(nbytes: int) -> str:
    """A byte count for people: 1536 -> "1.5 KiB"."""
    amount = float(nbytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
