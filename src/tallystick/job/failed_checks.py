"""What a program has noted while it ran: an index outside of its table, a check of values that failed.

In PyTorch each of them is an error. A program cannot stop; it keeps in its state in which step something was wrong
first, and whoever runs it stops then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tallystick.errors import JobError
from tallystick.job.manifest import CHECKS, Manifest


def check_slots(manifest: Manifest) -> dict[int, str]:
    """What the checks of a program are about, by the numbers of their state slots."""
    return {
        number: fact.name.removeprefix(CHECKS)
        for number, fact in enumerate(manifest.state)
        if fact.name.startswith(CHECKS) and fact.dtype == "i32" and fact.shape == (1,)
    }


def refuse_failed_checks(checks: dict[int, str], session: Any, folder: Path) -> None:
    """Raises: JobError for the first check that has failed so far."""
    steps = {slot: int(session.slot(slot)[0]) for slot in checks}
    failed = {slot: step for slot, step in steps.items() if step}
    if failed:
        slot, step = min(failed.items(), key=lambda item: item[1])
        raise JobError(
            f"step {step - 1}: {checks[slot]}. PyTorch would have stopped there. Look at what is computed in that "
            f"line; the states before this segment are kept in {folder}, and a changed job needs another folder."
        )
