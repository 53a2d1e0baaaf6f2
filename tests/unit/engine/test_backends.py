"""Engines by name."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest

from sample_programs import double, f32
from tallystick.engine import Engine, Target, backends
from tallystick.errors import UsageError
from tallystick.spec.programs import Program

PROGRAM = Program((f32(5),), (), (double(5),), (1,))


class Plain(Engine):
    """The processor's engine for the oldest machines."""

    def __init__(self, program: Program, threads: int | None = None) -> None:
        super().__init__(program, threads, Target(Target.available()[-1]))


@pytest.fixture
def plain() -> Iterator[str]:
    backends.register("plain", Plain)
    yield "plain"
    backends.unregister("plain")


def test_ours_is_the_default() -> None:
    assert backends.engine_names()[0] == "cpu"
    made = backends.make_engine(PROGRAM, 1)
    assert type(made) is Engine
    assert made.describe()["isa"] == Target.available()[0]


def test_one_that_is_registered_runs_programs(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plain in backends.engine_names()
    made = backends.make_engine(PROGRAM, 2, plain)
    assert made.describe()["isa"] == Target.available()[-1]
    with made.start([np.ones(5, np.float32)], []) as session:
        session.advance(3)
        assert session.state()[0].tolist() == [8.0] * 5
    monkeypatch.setenv(backends.CHOICE, plain)
    assert isinstance(backends.make_engine(PROGRAM), Plain)


def test_one_that_is_installed_is_loaded_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("elsewhere", "unit.engine.test_backends:Plain", backends.GROUP)

    def installed(**wanted: str) -> EntryPoints:
        return EntryPoints([point]).select(**wanted)

    monkeypatch.setattr(backends, "entry_points", installed)
    assert backends.engine_names() == ["cpu", "elsewhere"]
    assert backends.engine_factory("elsewhere").__name__ == "Plain"
    with pytest.raises(UsageError, match="already"):
        backends.register("elsewhere", Plain)


def test_names_are_looked_after(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="already"):
        backends.register("cpu", Plain)
    with pytest.raises(UsageError, match="no engine called gpu: give one of cpu, plain"):
        backends.make_engine(PROGRAM, name="gpu")
    monkeypatch.setenv(backends.CHOICE, "abacus")
    with pytest.raises(UsageError, match="abacus"):
        backends.make_engine(PROGRAM)
    for name in ("cpu", "gpu"):
        with pytest.raises(UsageError, match="by hand"):
            backends.unregister(name)
