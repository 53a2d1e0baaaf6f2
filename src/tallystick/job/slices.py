"""Advancing a session in slices short enough for progress reports and Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

SLICE_S = 0.25


def advance_in_slices(session: Any, end: int) -> Iterator[int]:
    """Advance a session to step ``end``; yields the number of steps of every slice once they are done."""
    steps = 1
    while session.step < end:
        steps = min(steps, end - session.step)
        began = time.monotonic()
        session.advance(steps)
        took = time.monotonic() - began
        yield steps
        # At most twice as many as before: the first steps are slow while pages are touched for the first time.
        fitting = int(SLICE_S * steps / took) if took > 0 else 2 * steps
        steps = max(1, min(2 * steps, fitting))
