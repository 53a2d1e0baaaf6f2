"""What a long call tells its caller while it works."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

Phase = Literal[
    "capture", "trace", "write out", "lower", "fuse", "write", "compile", "run", "check", "verify", "locate"
]


@dataclass(frozen=True)
class Progress:
    """How far it is. ``step`` of ``steps`` are done; ``segment`` is the one being worked on, counted from 0.

    ``loss`` is the newest loss, None where there is none. ``seconds`` have passed since the phase began, and about
    ``eta_s`` more are needed (None where nobody knows yet). ``note`` is something to know about the job, said once.
    """

    phase: Phase
    step: int
    steps: int
    segment: int
    segments: int
    loss: float | None
    seconds: float
    eta_s: float | None
    note: str | None = None


Listener = Callable[[Progress], object]


class Reporter:
    """Tells a listener, if there is one. One reporter per call; every phase has a clock of its own."""

    def __init__(self, listener: Listener | None, steps: int = 0, segments: int = 0) -> None:
        self._listener = listener
        self._steps = steps
        self._segments = segments
        self._phase: Phase | None = None
        self._began = 0.0
        self._first = 0

    def tell(self, phase: Phase, step: int = 0, segment: int = 0, loss: float | None = None) -> None:
        """Report a phase; the speed is measured from the step at which the phase was first reported."""
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began, self._first = phase, now, step
        if self._listener is None:
            return
        seconds, done = now - self._began, step - self._first
        eta = seconds * (self._steps - step) / done if done > 0 else None
        self._listener(Progress(phase, step, self._steps, segment, self._segments, loss, seconds, eta))

    def note(self, text: str) -> None:
        """Tell something to know about the job."""
        if self._listener is not None:
            self._listener(Progress("capture", 0, self._steps, 0, self._segments, None, 0.0, None, text))

    def capturing(self) -> AbstractContextManager[None]:
        """Captures inside are told stage by stage."""
        from tallystick.capture.stages import stages_told

        self.tell("capture")
        return stages_told(self.tell)
