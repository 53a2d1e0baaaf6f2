"""Random valid programs: every implementation computes the same bits as the definition."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from conformance.implementations import Native, Specification, assert_same_words
from conformance.splitting import split_everything
from property.strategies import Case, cases

SPEC = Specification()

# The examples of a plain run are always the same, so that it never fails by chance; the slow run draws new ones.
always = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
thorough = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


def check(case: Case, natives: list[Native]) -> None:
    want = SPEC.final_state(case)
    for native in natives:
        assert_same_words(case, case.program.states, native.final_state(case), want)
    assert_same_words(case, case.program.value_types, natives[0].trace(case), SPEC.trace(case))


@settings(always, max_examples=20)
@given(case=cases())
def test_programs(natives: list[Native], case: Case) -> None:
    check(case, natives)


@pytest.fixture(scope="session")
def splitting_natives(natives: list[Native], tmp_path_factory: pytest.TempPathFactory) -> list[Native]:
    """The same with a cache of their own: what is compiled while everything is split belongs to nobody else."""
    folder: Path = tmp_path_factory.mktemp("split")
    return [Native(native.target, native.threads, folder) for native in natives if native.threads > 1]


@settings(always, max_examples=12)
@given(case=cases())
def test_programs_cut_into_the_smallest_tasks(splitting_natives: list[Native], case: Case) -> None:
    """How work is shared is the engine's choice; here every choice is made as if a nanosecond of work were a lot."""
    with split_everything():
        check(case, splitting_natives)


@pytest.mark.slow
@thorough
@given(case=cases(max_kernels=5))
def test_many_programs(natives: list[Native], case: Case) -> None:
    check(case, natives)


@pytest.mark.slow
@thorough
@given(case=cases(max_kernels=5))
def test_many_programs_cut_into_the_smallest_tasks(splitting_natives: list[Native], case: Case) -> None:
    with split_everything():
        check(case, splitting_natives)
