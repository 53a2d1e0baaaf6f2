"""The memory of one side of a case."""

from __future__ import annotations

from cases import Case
from harness.peak_memory import STEPS, Growth, Side
from harness.torch_run import TorchRun, capture
from tallystick.engine import Engine


def memory_of(case: Case, side: Side, threads: int) -> int:
    """Bytes that training takes beyond libraries and data: state and everything in between."""
    case.data()
    if side == "torch":
        TorchRun(case, fused=True).advance(0)  # what PyTorch loads when it is first used
        with Growth() as growth:
            TorchRun(case, fused=True).advance(STEPS)
        return growth.bytes
    captured = capture(case)
    engine = Engine(captured.program, threads=threads)
    with Growth() as growth, engine.start(captured.state, captured.constants) as session:
        session.advance(STEPS)
    return growth.bytes
