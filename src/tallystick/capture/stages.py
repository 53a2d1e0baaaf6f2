"""What capture is busy with, told to whoever waits for it: a large model takes tens of seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Stage = Literal["trace", "write out", "lower", "fuse"]

_listener: ContextVar[Callable[[Stage], object] | None] = ContextVar("listener", default=None)


@contextmanager
def stages_told(listener: Callable[[Stage], object]) -> Iterator[None]:
    """Captures inside tell the listener which stage they begin."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def begin(stage: Stage) -> None:
    """Say that a stage begins."""
    listener = _listener.get()
    if listener is not None:
        listener(stage)
