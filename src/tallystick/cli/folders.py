"""Run folders that the user names. A path that leads nowhere is a slip of the user, not a false receipt."""

from __future__ import annotations

from pathlib import Path

from tallystick.errors import JobError


def receipt_file(path: Path) -> Path:
    """The receipt that is meant: a run folder stands for the one in it.

    Raises: JobError if there is none.
    """
    file = path / "receipt.json" if path.is_dir() else path
    if file.exists():
        return file
    if (file.parent / "manifest.json").exists():
        raise JobError(f"{file.parent} holds a run that is not finished, so no receipt yet: go on with it by tally run")
    raise JobError(f"there is no {file}: give a receipt, or the run folder that holds it")
