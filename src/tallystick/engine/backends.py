"""Engines by name: the door through which programs reach other machines.

``cpu`` is here. Others come from installed packages that name a factory in the entry point group
``tallystick.engines``, or are registered by hand. Callers ask for `make_engine` and need not know which one they get:
all of them compute the same bits, and the conformance suite runs over every one that is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from tallystick.engine.engine import Engine
from tallystick.errors import UsageError
from tallystick.spec.programs import Program

GROUP = "tallystick.engines"
DEFAULT = "cpu"
CHOICE = "TALLYSTICK_ENGINE"  # environment variable: the engine of callers that name none


class RunningSession(Protocol):
    """A program being run; see `Session`."""

    @property
    def step(self) -> int: ...
    def advance(self, steps: int) -> None: ...
    def state(self) -> list[np.ndarray]: ...
    def slot(self, number: int) -> np.ndarray: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


class AnyEngine(Protocol):
    """A program made ready for some machine; see `Engine`, which says what each of these does and raises."""

    @property
    def peak_memory(self) -> int: ...
    def describe(self) -> Mapping[str, str | int]: ...
    def start(self, state: Sequence[np.ndarray], constants: Sequence[np.ndarray], step: int = 0) -> RunningSession: ...
    def trace(self, state: Sequence[np.ndarray], constants: Sequence[np.ndarray], step: int) -> list[np.ndarray]: ...


Factory = Callable[[Program, int | None], AnyEngine]
"""(program, threads) -> an engine. ``threads`` None: as many as there are; one that has no threads ignores it."""

_registered: dict[str, Factory] = {DEFAULT: Engine}


def register(name: str, factory: Factory) -> None:
    """Make an engine known in this process. Raises UsageError if the name is taken."""
    if name in engine_names():
        raise UsageError(f"there is an engine called {name} already")
    _registered[name] = factory


def unregister(name: str) -> None:
    """Forget an engine that was registered by hand."""
    if name == DEFAULT or _registered.pop(name, None) is None:
        raise UsageError(f"{name} was not registered by hand")


def engine_names() -> list[str]:
    """Names of all engines, ours first."""
    installed = sorted(found.name for found in entry_points(group=GROUP))
    return [*_registered, *(name for name in installed if name not in _registered)]


def engine_factory(name: str | None = None) -> Factory:
    """The factory of an engine; ``None``: of the one that the environment names, or ours.

    Raises UsageError if there is none of the name.
    """
    name = name or os.environ.get(CHOICE) or DEFAULT
    if name in _registered:
        return _registered[name]
    for found in entry_points(group=GROUP, name=name):
        return found.load()
    raise UsageError(f"there is no engine called {name}: give one of {', '.join(engine_names())}, or install one")


def make_engine(program: Program, threads: int | None = None, name: str | None = None) -> AnyEngine:
    """A program made ready to run. Raises as `Engine` does, UsageError if there is no such engine."""
    return engine_factory(name)(program, threads)
