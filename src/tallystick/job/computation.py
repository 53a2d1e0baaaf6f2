"""The engine behind the players of a dispute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tallystick.dispute import Listener
from tallystick.job.slices import advance_in_slices
from tallystick.spec.programs import Program

if TYPE_CHECKING:
    from tallystick.engine.backends import AnyEngine


class EngineComputation:
    """One program on this machine. Satisfies ``dispute.Computation``.

    Making it compiles the program, or finds it in the cache; ``threads`` None takes all cores.
    """

    def __init__(self, program: Program, constants: Sequence[np.ndarray], threads: int | None = None) -> None:
        from tallystick.engine.backends import make_engine

        self.program = program
        self.constants: Sequence[np.ndarray] = list(constants)
        self._threads = threads
        self._engine: AnyEngine = make_engine(program, threads)

    def advance(self, state: Sequence[np.ndarray], step: int, steps: int, listener: Listener) -> list[np.ndarray]:
        with self._engine.start(state, self.constants, step) as session:
            for done in advance_in_slices(session, step + steps):
                listener(done)
            return session.state()

    def trace(
        self, state: Sequence[np.ndarray], step: int, constants: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        return self._engine.trace(state, self.constants if constants is None else constants, step)

    def evaluate(self, program: Program, constants: Sequence[np.ndarray], step: int) -> list[np.ndarray]:
        from tallystick.engine.backends import make_engine

        return make_engine(program, self._threads).trace([], constants, step)
