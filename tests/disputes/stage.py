"""Disputes for tests: a computation that both sides know, an arena, and a liar on one of the sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from tallystick.commitment import HashlibHasher, array_digest, bits_of
from tallystick.dispute import (
    Arena,
    Challenger,
    Computation,
    Defender,
    FaultyReplay,
    Listener,
    LocalArena,
    Match,
    Played,
    Player,
    Replay,
    TraceProvider,
    Turn,
)
from tallystick.dispute.faults import Scene
from tallystick.dispute.lies import FaultyTrace
from tallystick.ir.captured import Captured
from tallystick.job.computation import EngineComputation
from tallystick.spec.board import Claim, Side
from tallystick.spec.digests import constants_root, program_root
from tallystick.spec.programs import Program, run, run_step
from tallystick.spec.referee import WHOLE, Terms
from tallystick.spec.tensors import Tensor, TensorType
from torture_program import FIRST_STEP, array_of, tensor_of, torture

Watch = Callable[[Turn], None]
WORKER, CHALLENGER = "worker", "challenger"  # the two roles a liar can have


class PublicArena(Arena, Protocol):
    """An arena where tests post claims and let time pass."""

    worker: str
    challenger: str

    def post_claim(self, sender: str, claim: Claim) -> int: ...
    def challenge(self, sender: str, claim: int) -> int: ...
    def wait(self, seconds: int) -> None: ...
    def owed(self, address: str) -> int: ...


class SpecComputation:
    """The definition itself as a player's computation: slow, and with nothing in between."""

    def __init__(self, program: Program, constants: Sequence[np.ndarray]) -> None:
        self.program = program
        self.constants = constants

    def advance(self, state: Sequence[np.ndarray], step: int, steps: int, listener: Listener) -> list[np.ndarray]:
        types = self.program.states
        after = run(self.program, tensors(types, state), tensors(self.program.constants, self.constants), step, steps)
        listener(steps)
        return [array_of(tensor) for tensor in after]

    def trace(
        self, state: Sequence[np.ndarray], step: int, constants: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        given = tensors(self.program.constants, self.constants if constants is None else constants)
        return [array_of(value) for value in run_step(self.program, tensors(self.program.states, state), given, step)]

    def evaluate(self, program: Program, constants: Sequence[np.ndarray], step: int) -> list[np.ndarray]:
        return [array_of(value) for value in run_step(program, [], tensors(program.constants, constants), step)]


def tensors(types: Sequence[TensorType], arrays: Sequence[np.ndarray]) -> list[Tensor]:
    return [tensor_of(type, array) for type, array in zip(types, arrays, strict=True)]


@dataclass
class Stage:
    """A computation to have disputes about. What liars start from and what honest players know are run separately."""

    computation: Computation
    start: Sequence[np.ndarray]
    state_names: Sequence[str]
    constant_names: Sequence[str]
    first_step: int = 0
    hasher: HashlibHasher = field(default_factory=HashlibHasher)

    @cached_property
    def truth(self) -> Replay:
        """What liars start from."""
        return self.replay()

    @cached_property
    def honest(self) -> Replay:
        """What honest players know."""
        return self.replay()

    @property
    def program(self) -> Program:
        return self.computation.program

    def replay(self) -> Replay:
        return Replay(self.computation, self.start, self.first_step, self.hasher)

    def scene(self, at: int, steps: int, seed: int = 1) -> Scene:
        """Where a fault is to happen."""
        return Scene(self.truth, at, steps, self.state_names, self.constant_names, seed)

    def faulty(self, at: int) -> FaultyTrace:
        """A step to make false."""
        return FaultyTrace(self.truth.step_trace(at))

    def claim(self, end_root: bytes, steps: int) -> Claim:
        """That so many steps lead there."""
        types, arrays = self.program.constants, self.computation.constants
        digests = [array_digest(type, array, self.hasher) for type, array in zip(types, arrays, strict=True)]
        start = self.honest.state_roots([0])[0]
        return Claim(program_root(self.program), constants_root(digests), start, end_root, self.first_step, steps)


def torture_stage(computation: type[SpecComputation] | type[EngineComputation] = EngineComputation) -> Stage:
    """The torture program on the engine, or on the definition."""
    made = torture()
    threads = (1,) if computation is EngineComputation else ()
    return Stage(
        computation(made.program, made.constants, *threads),
        made.state,
        made.state_names,
        made.constant_names,
        FIRST_STEP,
    )


def captured_stage(captured: Captured) -> Stage:
    """A captured program on the engine."""
    computation = EngineComputation(captured.program, captured.constants, 1)
    return Stage(computation, captured.state, captured.state_names, captured.constant_names)


def false_element(stage: Stage, at: int, value: int, element: int, wrong_step: int | None = None) -> FaultyTrace:
    """A step with one bit of one element wrong, and its accumulators from one scalar step on."""
    trace = stage.faulty(at)
    array = trace.values[value]
    bits = bits_of(trace.types[value], array).copy()
    bits[element] ^= 1
    trace.replace_value(value, bits.view(array.dtype).reshape(array.shape))
    trace.wrong_step = wrong_step
    return trace


@dataclass(frozen=True)
class Dispute:
    """A dispute that was played."""

    arena: PublicArena
    claim: int
    game: int
    played: Played
    liar: Side

    @property
    def last(self) -> Turn:
        return self.played.turns[-1]

    def check_verdict(self) -> None:
        """The liar has lost, and the honest side is owed what the terms promise."""
        terms = self.arena.terms
        assert self.played.winner not in (self.liar, Side.NOBODY), f"{self.liar.name} lied and won"
        share = terms.winner_share
        if self.liar is Side.DEFENDER:
            owed = terms.challenger_bond + terms.defender_bond * share // WHOLE
            assert (self.arena.owed(self.arena.challenger), self.arena.owed(self.arena.worker)) == (owed, 0)
        else:
            owed = terms.challenger_bond * share // WHOLE
            assert (self.arena.owed(self.arena.worker), self.arena.owed(self.arena.challenger)) == (owed, 0)


PlayerMaker = Callable[[str, TraceProvider, int], Player]


def lie(
    stage: Stage,
    false: Sequence[FaultyTrace],
    at: int,
    role: str,
    steps: int,
    arena: PublicArena | None = None,
    defender: PlayerMaker = Defender,
    challenger: PlayerMaker = Challenger,
    watch: Watch = lambda turn: None,
) -> Dispute:
    """Dispute a claim of so many steps; the worker or the challenger computes falsely from step ``at`` on.

    A lie that leaves no trace in the end is claimed right after it was told.
    """
    liar = FaultyReplay(stage.truth, at, false)
    if liar.state_roots([steps]) == stage.honest.state_roots([steps]):
        steps = at + len(false)
    assert liar.state_roots([steps]) != stage.honest.state_roots([steps]), "this lie claims the truth"
    end = (liar if role == WORKER else stage.honest).state_roots([steps])[0]
    players = (liar, stage.honest) if role == WORKER else (stage.honest, liar)
    return dispute(stage, end, steps, role, players, arena or LocalArena(), defender, challenger, watch)


def dispute(
    stage: Stage,
    end_root: bytes,
    steps: int,
    role: str,
    providers: tuple[TraceProvider, TraceProvider],
    arena: PublicArena,
    defender: PlayerMaker = Defender,
    challenger: PlayerMaker = Challenger,
    watch: Watch = lambda turn: None,
) -> Dispute:
    """A claim, a challenge, and the whole game."""
    claim = arena.post_claim(arena.worker, stage.claim(end_root, steps))
    game = arena.challenge(arena.challenger, claim)
    fanout = arena.terms.fanout
    sides = defender(arena.worker, providers[0], fanout), challenger(arena.challenger, providers[1], fanout)
    played = Match(arena, game, *sides, arena.wait, watch).play()
    return Dispute(arena, claim, game, played, Side.DEFENDER if role == WORKER else Side.CHALLENGER)


def quick_terms(fanout: int = 32) -> Terms:
    """Terms with short clocks."""
    return Terms(fanout=fanout, move_s=60, total_s=600, window_s=3_600)
