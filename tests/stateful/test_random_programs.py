"""Disputes about random programs, between the players that people use: whoever is honest wins, at whatever scalar step
the other goes wrong, and every move of it is taken by the contract as by its definition.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("pyrevm")

from disputes.liars import pointing_at_random
from disputes.stage import (
    CHALLENGER,
    WORKER,
    Dispute,
    PublicArena,
    SpecComputation,
    Stage,
    dispute,
    false_element,
    lie,
    quick_terms,
)
from evm.twin_arena import TwinArena
from property.strategies import Case, cases
from tallystick.dispute import LocalArena
from tallystick.dispute.lies import FaultyTrace
from tallystick.dispute.step_trace import maker_of
from tallystick.spec.board import Phase
from tallystick.spec.scalar_steps import scalar_steps
from torture_program import array_of

STEPS = 2
thorough = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def stage(case: Case) -> Stage:
    constants, state = ([array_of(tensor) for tensor in each] for each in (case.constants, case.state))
    return Stage(SpecComputation(case.program, constants), state, [], [], case.first_step)


def wrong_somewhere(place: Stage, rng: random.Random) -> FaultyTrace:
    """The last step, with one bit wrong in an element of a kernel's output, from one of its scalar steps on."""
    program = place.program
    first = len(program.states) + len(program.constants)
    value = rng.randrange(first, len(program.value_types))
    element = rng.randrange(program.value_types[value].elements)
    steps = scalar_steps(maker_of(program, value).kernel, element)
    return false_element(place, STEPS - 1, value, element, rng.randrange(steps))


def play(case: Case, seed: int, arena: PublicArena) -> Dispute:
    rng, place = random.Random(seed), stage(case)
    with np.errstate(all="ignore"):
        played = lie(place, [wrong_somewhere(place, rng)], STEPS - 1, rng.choice([WORKER, CHALLENGER]), STEPS, arena)
    played.check_verdict()
    assert played.last.before.phase is Phase.EXECUTE and played.last.move is not None, "it came down to a scalar step"
    return played


@settings(thorough, max_examples=12)
@given(case=cases(), seed=st.integers(0, 1 << 32))
def test_by_definition(case: Case, seed: int) -> None:
    for number in range(2):
        play(case, seed + number, LocalArena(quick_terms(2 << number)))


@settings(thorough, max_examples=12)
@given(case=cases(), seed=st.integers(0, 1 << 32))
def test_on_the_contract(case: Case, seed: int) -> None:
    play(case, seed, TwinArena(quick_terms(4)))


@settings(thorough, max_examples=12)
@given(case=cases(), seed=st.integers(0, 1 << 32))
def test_the_truth_stands_against_pointing_at_random(case: Case, seed: int) -> None:
    place = stage(case)
    providers = (place.honest, place.honest)
    with np.errstate(all="ignore"):
        (end,) = place.honest.state_roots([STEPS])
        for number in range(2):
            arena, challenger = LocalArena(quick_terms(2 << number)), pointing_at_random(seed + number)
            dispute(place, end, STEPS, CHALLENGER, providers, arena, challenger=challenger).check_verdict()
