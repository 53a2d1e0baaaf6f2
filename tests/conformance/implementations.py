"""Implementations of the representation behind one face: a case in, every word out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from property.strategies import Case
from tallystick.engine import Engine, Target
from tallystick.engine.backends import DEFAULT, engine_names, make_engine
from tallystick.engine.target import runnable
from tallystick.spec.programs import run, run_step
from tallystick.spec.tensors import DType, Tensor, TensorType

NUMPY = {
    DType.F32: np.dtype("<f4"),
    DType.I32: np.dtype("<i4"),
    DType.U8: np.dtype("u1"),
    DType.I8: np.dtype("i1"),
    DType.BOOL: np.dtype("?"),
    DType.BF16: np.dtype("<u2"),
    DType.F16: np.dtype("<f2"),
}


class Implementation(Protocol):
    """Something that runs programs. Results are dense bytes."""

    name: str

    def final_state(self, case: Case) -> list[bytes]:
        """The state slots after all steps of the case."""
        ...

    def trace(self, case: Case) -> list[bytes]:
        """Every value of the case's first step, by number."""
        ...


class Specification:
    """The definition itself."""

    name = "spec"

    def final_state(self, case: Case) -> list[bytes]:
        state = run(case.program, case.state, case.constants, case.first_step, case.steps)
        return [bytes(tensor.data) for tensor in state]

    def trace(self, case: Case) -> list[bytes]:
        values = run_step(case.program, case.state, case.constants, case.first_step)
        return [bytes(tensor.data) for tensor in values]


@dataclass(frozen=True)
class Native:
    """The engine for one target and number of threads."""

    target: Target
    threads: int
    cache: Path

    @property
    def name(self) -> str:
        return f"{self.target.isa}-O{self.target.opt_level}-{self.threads}"

    def engine(self, case: Case) -> Engine:
        return Engine(case.program, threads=self.threads, target=self.target, cache=self.cache)

    def final_state(self, case: Case) -> list[bytes]:
        with self.engine(case).start(arrays(case.state), arrays(case.constants), case.first_step) as session:
            session.advance(case.steps)
            return [array.tobytes() for array in session.state()]

    def trace(self, case: Case) -> list[bytes]:
        values = self.engine(case).trace(arrays(case.state), arrays(case.constants), case.first_step)
        return [array.tobytes() for array in values]


@dataclass(frozen=True)
class Registered:
    """An engine by its name."""

    name: str

    def final_state(self, case: Case) -> list[bytes]:
        engine = make_engine(case.program, name=self.name)
        with engine.start(arrays(case.state), arrays(case.constants), case.first_step) as session:
            session.advance(case.steps)
            return [array.tobytes() for array in session.state()]

    def trace(self, case: Case) -> list[bytes]:
        engine = make_engine(case.program, name=self.name)
        values = engine.trace(arrays(case.state), arrays(case.constants), case.first_step)
        return [array.tobytes() for array in values]


def registered_engines() -> list[str]:
    """Engines that are installed besides the one of this package, whose targets are implementations of their own."""
    return [name for name in engine_names() if name != DEFAULT]


def native_targets() -> list[Target]:
    """Every instruction set of this machine, unoptimised and optimised."""
    return [Target(isa, opt_level) for isa in runnable() for opt_level in (0, 3)]


def arrays(tensors: tuple[Tensor, ...]) -> list[np.ndarray]:
    return [array(tensor) for tensor in tensors]


def array(tensor: Tensor) -> np.ndarray:
    """A tensor as the engine takes it. The bits of bf16 are unsigned integers: numpy has no such type."""
    return np.frombuffer(bytes(tensor.data), NUMPY[tensor.type.dtype]).reshape(tensor.type.shape)


def assert_same_words(case: Case, types: tuple[TensorType, ...], got: list[bytes], want: list[bytes]) -> None:
    """Compare results bit for bit; the message names the first element that differs."""
    assert len(got) == len(want) == len(types)
    for number, (type, mine, theirs) in enumerate(zip(types, got, want, strict=True)):
        if mine == theirs:
            continue
        size = type.dtype.size
        for element in range(type.elements):
            here = slice(element * size, (element + 1) * size)
            if mine[here] != theirs[here]:
                word, expected = (int.from_bytes(data[here], "little") for data in (mine, theirs))
                raise AssertionError(
                    f"value {number} {type} element {element}: {word:#x}, not {expected:#x}, in {case!r}"
                )
        raise AssertionError(f"value {number} {type}: {len(mine)} bytes, not {len(theirs)}, in {case!r}")
