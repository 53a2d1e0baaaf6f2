"""What capturing a piece of code yields: a program, where it starts, and what its numbers are called."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tallystick.spec.programs import Program


@dataclass(frozen=True)
class Captured:
    """A program with its start state, its constants and its names.

    ``state`` and ``constants`` hold one array per slot, in slot order (constants may be memory-mapped). ``sources``
    holds one text per kernel: the user's lines it came from. ``notes`` say what storing the data has cost.
    """

    program: Program
    state: list[np.ndarray] = field(repr=False)
    constants: list[np.ndarray] = field(repr=False)
    state_names: list[str]
    constant_names: list[str]
    sources: list[str] = field(repr=False)
    notes: tuple[str, ...] = ()
