"""A tiny job for tests of the job layer: least squares by gradient descent with momentum, one row per step."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from tallystick.engine import Engine
from tallystick.ir.builder import CodeBuilder
from tallystick.ir.captured import Captured
from tallystick.job import Job
from tallystick.spec.kernels import Fold, Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, View

ROWS, WIDTH = 8, 3
MOMENTUM, RATE = 0.9, 0.05
STATE_NAMES = ["model.weight", "optimizer.momentum", "record.loss", "model.calls", "model.mask"]
CONSTANT_NAMES = ["data.x", "data.y", "model.frozen"]
SOURCES = [
    "net.py:7 forward: x @ w - y",
    "optimizer: momentum",
    "optimizer: SGD",
    "record: loss",
    "net.py:9 forward: self.calls += 1",
]


def f32(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def row(b: CodeBuilder) -> int:
    return b.irem(b.step(), b.word(ROWS))


def error_kernel() -> Kernel:
    """e = sum_k x[step % ROWS, k] * w[k] - y[step % ROWS]"""
    b = CodeBuilder()
    at = row(b)
    code, place = b.build(b.ffma(b.load(0), b.load(1), b.acc()), keep=(at,))
    x = View(5, Address(0, (1,), computed=((WIDTH, place[at]),)))
    w = View(0, Address(0, (1,)))
    m = CodeBuilder()
    merge, _ = m.build(m.fadd(m.acc(0), m.acc(1)))
    e = CodeBuilder()
    at = row(e)
    epilogue, place = e.build(e.fsub(e.acc(), e.load(2)), keep=(at,))
    y = View(6, Address(0, (0,), computed=((1, place[at]),)))
    return Kernel((), (WIDTH,), (x, w, y), code, (DType.F32,), Fold((0,), 1, 512, merge, epilogue))


def momentum_kernel() -> Kernel:
    b = CodeBuilder()
    at = row(b)
    code, place = b.build(b.ffma(b.load(0), b.load(1), b.fmul(b.load(2), b.float(MOMENTUM))), keep=(at,))
    loads = (
        View(5, Address(0, (1,), computed=((WIDTH, place[at]),))),
        View(8, Address(0, (0,))),
        View(1, Address(0, (1,))),
    )
    return Kernel((WIDTH,), (), loads, code, (DType.F32,))


def weight_kernel() -> Kernel:
    b = CodeBuilder()
    code, _ = b.build(b.ffma(b.load(0), b.float(-RATE), b.load(1)))
    return Kernel((WIDTH,), (), (View(9, Address(0, (1,))), View(0, Address(0, (1,)))), code, (DType.F32,))


def record_kernel(steps: int) -> Kernel:
    b = CodeBuilder()
    square = b.fmul(b.load(0), b.load(0))
    code, _ = b.build(b.select(b.ieq(b.index(0), b.step()), square, b.load(1)))
    return Kernel((steps,), (), (View(8, Address(0, (0,))), View(2, Address(0, (1,)))), code, (DType.F32,))


def calls_kernel() -> Kernel:
    b = CodeBuilder()
    code, _ = b.build(b.iadd(b.load(0), b.word(1)))
    return Kernel((), (), (View(3, Address(0, ())),), code, (DType.I32,))


def tiny_captured(steps: int, seed: int = 0, poison: float | None = None) -> Captured:
    """The captured program. ``poison`` is put among the data, to make the loss NaN."""
    rng = np.random.default_rng(seed)
    states = (f32(WIDTH), f32(WIDTH), f32(steps), TensorType(DType.I32, ()), TensorType(DType.BOOL, (5,)))
    constants = (f32(ROWS, WIDTH), f32(ROWS), f32(2, 2))
    kernels = (error_kernel(), momentum_kernel(), weight_kernel(), record_kernel(steps), calls_kernel())
    x = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
    if poison is not None:
        x[ROWS - 1, 0] = poison
    return Captured(
        program=Program(states, constants, kernels, (10, 9, 11, 12, 4)),
        state=[
            rng.standard_normal(WIDTH).astype(np.float32),
            np.zeros(WIDTH, np.float32),
            np.zeros(steps, np.float32),
            np.array(0, np.int32),
            np.array([True, False, True, True, False]),
        ],
        constants=[x, rng.standard_normal(ROWS).astype(np.float32), np.eye(2, dtype=np.float32)],
        state_names=list(STATE_NAMES),
        constant_names=list(CONSTANT_NAMES),
        sources=list(SOURCES),
    )


def tiny_job(steps: int = 50, segment_steps: int = 8, seed: int = 0, poison: float | None = None) -> Job:
    """50 steps in 7 segments, the last of 2 steps."""
    return Job(tiny_captured(steps, seed, poison), steps, segment_steps, "tiny")


def copy_run(folder: Path, to: Path) -> Path:
    """A copy of a run folder, to be damaged."""
    shutil.copytree(folder, to)
    return to


def flip(path: Path, byte: int, bit: int = 0) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class LyingEngine(Engine):
    """An engine that flips one bit of the state after one step, and goes on from there as if nothing had happened."""

    step = 0
    slot = 0
    element = 0
    bit = 0

    def start(self, state, constants, step: int = 0):
        return LyingSession(self, list(constants), super().start(state, constants, step=step))


class LyingSession:
    """Stands in for a session: stops at the step after which to lie, and starts another session from the lie."""

    def __init__(self, engine: LyingEngine, constants: list[np.ndarray], session) -> None:
        self.engine = engine
        self.constants = constants
        self.session = session

    def __enter__(self) -> LyingSession:
        self.session.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.session.__exit__(*error)

    def __getattr__(self, name: str):
        return getattr(self.session, name)

    def advance(self, steps: int) -> None:
        before = min(steps, max(0, self.engine.step + 1 - self.session.step))
        lies = 0 < before <= steps and self.session.step + before == self.engine.step + 1
        if before:
            self.session.advance(before)
        if lies:
            state = self.session.state()
            flat = state[self.engine.slot].reshape(-1).view(np.uint8)
            flat[self.engine.element * state[self.engine.slot].itemsize + self.engine.bit // 8] ^= (
                1 << self.engine.bit % 8
            )
            at = self.session.step
            self.session.__exit__(None, None, None)
            self.session = Engine.start(self.engine, state, self.constants, step=at)
            self.session.__enter__()
        if steps > before:
            self.session.advance(steps - before)


def liar(step: int, slot: int, element: int, bit: int = 0) -> type[LyingEngine]:
    """The engine that flips a bit of an element of a slot of the state after a step."""
    return type("Liar", (LyingEngine,), {"step": step, "slot": slot, "element": element, "bit": bit})
