"""State roots, one after the other, along a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick.commitment.arrays import array_digest
from tallystick.commitment.hasher import Hasher
from tallystick.spec.digests import state_root
from tallystick.spec.programs import Program


class StateHasher:
    """Digests of the states of one run of a program.

    A slot that the program hands on unchanged is hashed once and never again: that is known from the program, so it
    costs nothing to find out. Use one object per run: the states must come from the same start.
    """

    def __init__(self, program: Program, hasher: Hasher) -> None:
        self.types = program.states
        self._hasher = hasher
        self._frozen = [number == slot for slot, number in enumerate(program.next_state)]
        self._known: dict[int, bytes] = {}

    def digests(self, state: Sequence[np.ndarray]) -> list[bytes]:
        """The tensor digest of every slot."""
        found = []
        for slot, (type, array) in enumerate(zip(self.types, state, strict=True)):
            digest = self._known.get(slot)
            if digest is None:
                digest = array_digest(type, array, self._hasher)
                if self._frozen[slot]:
                    self._known[slot] = digest
            found.append(digest)
        return found

    def root(self, state: Sequence[np.ndarray]) -> bytes:
        """The state root."""
        return state_root(self.digests(state))
