"""Programs that lack something: states, constants, kernels, anything at all. Liars about them lose, the truth stands,
on the contract and on its definition at once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

pytest.importorskip("pyrevm")

from disputes.liars import pointing_at_random
from disputes.stage import CHALLENGER, WORKER, SpecComputation, Stage, dispute, false_element, lie, quick_terms
from evm.twin_arena import TwinArena
from property.strategies import fill
from sample_programs import code, i32
from tallystick.dispute import Defender, StepTrace, TraceProvider
from tallystick.ir.verifier import verify
from tallystick.spec.board import Side
from tallystick.spec.game import DIGEST, levels
from tallystick.spec.kernels import Kernel
from tallystick.spec.merkle import depth, merkle_root
from tallystick.spec.moves import RevealTrace
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType
from tallystick.spec.views import Address, View
from torture_program import array_of

SCALAR = Address(0, ())
NUMBER = Kernel((), (), (), code(lambda b: b.iadd(b.step(), b.word(7))), (DType.I32,))
NEXT = Kernel((), (), (View(0, SCALAR),), code(lambda b: b.iadd(b.load(0), b.step())), (DType.I32,))

PROGRAMS = {
    "nothing at all": Program((), (), (), ()),
    "a constant": Program((), (i32(3),), (), ()),
    "a kernel": Program((), (), (NUMBER,), ()),
    "a constant and a kernel": Program((), (i32(),), (NEXT,), ()),
    "a state": Program((i32(3),), (), (), (0,)),
    "a state that becomes a constant": Program((i32(3),), (i32(3),), (), (1,)),
    "a state that a kernel makes": Program((i32(),), (), (NUMBER,), (1,)),
    "states that trade places": Program((i32(2), i32(2), i32(2)), (), (), (1, 2, 0)),
    "states that all become one": Program((i32(2), i32(2), i32(2)), (i32(2), i32(2)), (), (4, 4, 4)),
}
STEPS = 3
FANOUTS = (2, 32)


def stage(name: str) -> Stage:
    program = PROGRAMS[name]
    verify(program)
    case = fill(program, seed=5)
    constants, state = ([array_of(tensor) for tensor in each] for each in (case.constants, case.state))
    return Stage(SpecComputation(program, constants), state, [], [], first_step=9)


class WrongEnd:
    """Everything as it was, but for the root in the end."""

    def __init__(self, honest: TraceProvider, end: bytes) -> None:
        self._honest, self._end = honest, end

    def state_roots(self, numbers: Sequence[int]) -> list[bytes]:
        return [self._end if number == STEPS else self._honest.state_roots([number])[0] for number in numbers]

    def step_trace(self, number: int) -> StepTrace:
        return self._honest.step_trace(number)


class Inventing(Defender):
    """Reveals a trace of digests that nothing has, but for ``right`` of the first ones."""

    right = 0

    def reveal_trace(self, trace: StepTrace) -> RevealTrace:
        honest = super().reveal_trace(trace)
        if not honest.children:
            return replace(honest, trace_root=b"\x5a" * DIGEST)
        rng = random.Random(self.right)
        children = [child if n < self.right else rng.randbytes(DIGEST) for n, child in enumerate(honest.children)]
        return replace(honest, trace_root=merkle_root(children), children=tuple(children))


@pytest.mark.parametrize("fanout", FANOUTS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_wrong_end(name: str, fanout: int) -> None:
    """Whether the trace of the last step is right, wrong, or wrong in part, its padding among it."""
    place = stage(name)
    for end in (b"\xa5" * DIGEST, place.honest.state_roots([0])[0]):
        if end == place.honest.state_roots([STEPS])[0]:
            continue
        providers = WrongEnd(place.truth, end), place.honest
        dispute(place, end, STEPS, WORKER, providers, TwinArena(quick_terms(fanout))).check_verdict()
        for number in range(1 << levels(depth(len(place.program.value_types)), fanout)):
            liar = type("Liar", (Inventing,), {"right": number})
            dispute(place, end, STEPS, WORKER, providers, TwinArena(quick_terms(fanout)), liar).check_verdict()


@pytest.mark.parametrize("role", [WORKER, CHALLENGER])
@pytest.mark.parametrize("name", ["a state that becomes a constant", "a state that a kernel makes"])
def test_a_wrong_value(name: str, role: str) -> None:
    place = stage(name)
    for value in range(2):
        if value != PROGRAMS[name].next_state[0]:
            continue  # a lie about it would not show in the end
        false = [false_element(place, STEPS - 1, value, 0)]
        lie(place, false, STEPS - 1, role, STEPS, TwinArena(quick_terms())).check_verdict()


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_truth_stands(name: str) -> None:
    place = stage(name)
    (end,) = place.honest.state_roots([STEPS])
    for seed in range(6):
        arena = TwinArena(quick_terms(FANOUTS[seed % 2]))
        providers = (place.honest, place.honest)
        played = dispute(place, end, STEPS, CHALLENGER, providers, arena, challenger=pointing_at_random(seed))
        played.check_verdict()
        assert played.played.winner is Side.DEFENDER
