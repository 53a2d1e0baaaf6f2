"""Runs a captured program in the engine and in the specification, which must agree on every bit."""

from __future__ import annotations

import numpy as np

from tallystick.engine import Engine
from tallystick.ir.captured import Captured
from tallystick.spec.programs import run
from tallystick.spec.tensors import Tensor


def final(captured: Captured, steps: int, threads: int = 1) -> dict[str, np.ndarray]:
    """The state after some steps, by name."""
    program = captured.program
    state = [Tensor(type, a.tobytes()) for type, a in zip(program.states, captured.state, strict=True)]
    constants = [Tensor(type, a.tobytes()) for type, a in zip(program.constants, captured.constants, strict=True)]
    specified = [bytes(value.data) for value in run(program, state, constants, 0, steps)]
    with Engine(program, threads=threads).start(captured.state, captured.constants) as session:
        session.advance(steps)
        arrays = [np.array(array) for array in session.state()]
    assert [array.tobytes() for array in arrays] == specified
    return dict(zip(captured.state_names, arrays, strict=True))
