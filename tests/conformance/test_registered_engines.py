"""An engine that is registered under a name of its own answers to the same suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from conformance.implementations import Registered, Specification, assert_same_words, registered_engines
from property.strategies import Case, cases
from tallystick.engine import Engine, Target, backends
from tallystick.spec.programs import Program

ISA = Target.available()[-1]


def plainest(program: Program, threads: int | None = None) -> Engine:
    """The processor's engine without any of its newer instructions."""
    return Engine(program, threads or 2, Target(ISA, 0))


@pytest.fixture(scope="module")
def other() -> Iterator[Registered]:
    backends.register("plainest", plainest)
    yield Registered("plainest")
    backends.unregister("plainest")


def test_the_suite_finds_it(other: Registered) -> None:
    assert other.name in registered_engines()
    assert "cpu" not in registered_engines()


@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_programs(other: Registered, case: Case) -> None:
    assert_same_words(case, case.program.states, other.final_state(case), Specification().final_state(case))
    assert_same_words(case, case.program.value_types, other.trace(case), Specification().trace(case))
