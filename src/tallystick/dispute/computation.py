"""Whoever runs programs for a player of a dispute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from tallystick.spec.programs import Program

Listener = Callable[[int], None]
"""Called with numbers of steps that have just been run."""


class Computation(Protocol):
    """Runs one program, and small programs about it. An engine satisfies it.

    Arrays have the dtypes of ``commitment.NUMPY_DTYPES``; none of them is written to.
    """

    program: Program
    constants: Sequence[np.ndarray]

    def advance(self, state: Sequence[np.ndarray], step: int, steps: int, listener: Listener) -> list[np.ndarray]:
        """The state after ``steps`` steps, the first of which has number ``step``."""
        ...

    def trace(
        self, state: Sequence[np.ndarray], step: int, constants: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """Every value of one step, by number; with other constants than the job's where they are given."""
        ...

    def evaluate(self, program: Program, constants: Sequence[np.ndarray], step: int) -> list[np.ndarray]:
        """Every value of one step of another program, which has no state."""
        ...
