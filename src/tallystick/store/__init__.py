"""Artifacts on disk: immutable blobs named by digest, atomic files, locks. A local folder today."""

from tallystick.store.atomic import share_file, sweep_temporaries, write_file
from tallystick.store.blobs import Blobs
from tallystick.store.files import map_file, read_file
from tallystick.store.lock import FolderLock
from tallystick.store.space import require_space

__all__ = [
    "Blobs",
    "FolderLock",
    "map_file",
    "read_file",
    "require_space",
    "share_file",
    "sweep_temporaries",
    "write_file",
]
