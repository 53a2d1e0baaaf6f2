"""The accumulators of one element between its scalar steps."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Protocol

import numpy as np

from tallystick.dispute.tensors import ArrayWords
from tallystick.spec.kernels import Kernel
from tallystick.spec.scalar_steps import Place, first_accumulators, run_scalar_step, scalar_steps


class Accumulators(Protocol):
    """What a player says stood between the scalar steps of an element."""

    steps: int

    def at(self, position: int) -> list[int]:
        """The accumulators before a scalar step."""
        ...


class ElementTrace:
    """The accumulators of one element, computed from where they are known already.

    ``hits`` gives the source points that write the element of a scatter: all others leave it as it is.
    """

    def __init__(self, kernel: Kernel, place: Place, words: ArrayWords, hits: Callable[[], np.ndarray]) -> None:
        self.steps = scalar_steps(kernel, place.element)
        self._kernel = kernel
        self._place = place
        self._words = words
        self._hits = hits
        self._changes: np.ndarray | None = None
        self._positions = [0]
        self._known = {0: first_accumulators(kernel)}

    def at(self, position: int) -> list[int]:
        """The accumulators before a scalar step; after all of them, the bits of the element."""
        before = self._positions[bisect_right(self._positions, position) - 1]
        words = self._known[before]
        for step in self._working(before, position):
            words = run_scalar_step(self._kernel, self._place, step, words, self._words)
        if position not in self._known:
            self._known[position] = words
            self._positions.insert(bisect_left(self._positions, position), position)
        return words

    def _working(self, start: int, end: int) -> range | list[int]:
        """The scalar steps from ``start`` to ``end`` that change anything."""
        if self._kernel.scatter is None:
            return range(start, end)
        if self._changes is None:  # START is step 0, source point n is step n + 1, and STORE is the last
            self._changes = np.concatenate([[0], self._hits() + 1, [self.steps - 1]])
        first, last = np.searchsorted(self._changes, [start, end])
        return [int(step) for step in self._changes[first:last]]
