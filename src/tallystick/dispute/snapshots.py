"""States that a player keeps, so that nothing is run twice."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tallystick.errors import UsageError

DEFAULT_BUDGET = 2 << 30  # bytes


class Snapshots:
    """States by number; those that do not fit the memory budget go to a temporary folder, gone with this object."""

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        self._budget = self._left = budget
        self._states: dict[int, list[np.ndarray]] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __contains__(self, number: int) -> bool:
        return number in self._states

    def put(self, number: int, state: Sequence[np.ndarray]) -> None:
        """Keep a state. Its arrays must not change afterwards."""
        if number in self._states:
            return
        size = sum(array.nbytes for array in state)
        if size <= self._left:
            self._left -= size
            self._states[number] = list(state)
        else:
            self._states[number] = self._spill(number, state)

    def nearest(self, number: int) -> tuple[int, list[np.ndarray]]:
        """The last state kept at or before a number. Raises: UsageError if there is none."""
        best = max((kept for kept in self._states if kept <= number), default=None)
        if best is None:
            raise UsageError(f"no state at or before {number} is kept: put the one to start from first")
        return best, self._states[best]

    def _spill(self, number: int, state: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Write a state and map it back."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="tally-dispute-")
            weakref.finalize(self, self._folder.cleanup)  # or Python would warn of a folder that nobody closed
        mapped: list[np.ndarray] = []
        for slot, array in enumerate(state):
            path = Path(self._folder.name) / f"{number}-{slot}.npy"
            np.save(path, array, allow_pickle=False)
            mapped.append(np.load(path, mmap_mode="r", allow_pickle=False))
        return mapped

    def close(self) -> None:
        """Forget everything."""
        self._states.clear()
        self._left = self._budget
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
