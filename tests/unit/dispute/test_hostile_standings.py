"""An arena that tells players nonsense: they answer, or say why they cannot; they neither fall nor run for ever."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import get_args

import pytest

from disputes.stage import WORKER, PublicArena, Stage, lie, quick_terms, torture_stage
from tallystick.dispute import Challenger, Defender, LocalArena, Player
from tallystick.dispute.faults import FAULTS
from tallystick.dispute.step_trace import maker_of
from tallystick.errors import CannotAnswer, TallystickError
from tallystick.spec.board import Claim, Game, Level, Phase, Side, Tree
from tallystick.spec.moves import Move
from tallystick.spec.referee import Terms
from tallystick.spec.scalar_steps import scalar_steps
from tallystick.spec.standing import Reveal, Standing

AT, STEPS, FANOUT = 3, 8, 4
LONGEST_S = 20.0  # for one answer, on a machine that is busy with other things
NUMBERS = (-1, 0, 1, 2, 31, 255, 1 << 20, 1 << 31, 1 << 40, 1 << 64, 1 << 200)
INTERVALS = frozenset({Phase.REVEAL_INTERVAL, Phase.POINT_INTERVAL})
AFTER_TRACE = frozenset(Phase) - {Phase.REVEAL_TRACE, Phase.OVER, *INTERVALS}
IN_TREES = frozenset({Phase.REVEAL_CHILDREN, Phase.POINT_CHILD, Phase.PROVE_SLOT, Phase.REVEAL_CHUNK})
WITH_A_VALUE = frozenset({Phase.PROVE_INPUT, Phase.REVEAL_TENSOR, Phase.REVEAL_CHUNK, Phase.EXECUTE})
ENUMS = {"phase": Phase, "level": Level, "tree": Tree, "winner": Side}


class Watched(LocalArena):
    """Remembers every standing that a player was shown."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self.shown: list[Standing] = []

    def standing(self, game: int) -> Standing:
        found = super().standing(game)
        self.shown.append(deepcopy(found))
        return found


@dataclass(frozen=True)
class Scene:
    """Standings of real games in every phase, and the honest players who are shown them."""

    stage: Stage
    standings: list[Standing]

    def players(self, claim: Claim | None) -> list[Player]:
        honest = self.stage.honest
        return [Defender("d", honest, FANOUT, claim), Challenger("c", honest, FANOUT, claim)]


@cache
def scene() -> Scene:
    stage, standings = torture_stage(), []
    for fault in ("fold-step", "wrong-data-row", "skipped-step", "weight-ulp"):
        arena = Watched(quick_terms(FANOUT))
        lie(stage, FAULTS[fault](stage.scene(AT, STEPS)), AT, WORKER, STEPS, as_public(arena))
        standings += [shown for shown in arena.shown if shown.dispute.game.phase is not Phase.OVER]
    return Scene(stage, standings)


def as_public(arena: LocalArena) -> PublicArena:
    return arena


@contextmanager
def time_limit() -> Iterator[None]:
    """A player who runs for ever fails the test instead of stopping it."""

    def ring(*_: object) -> None:
        raise AssertionError("no answer in time")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def answer(player: Player, standing: Standing) -> Move | None:
    """A move, or None where the player says that he has none. Anything else is a bug."""
    with time_limit():
        try:
            move = player.answer(standing)
        except TallystickError:
            return None
    assert isinstance(move, get_args(Move))
    return move


def with_game(standing: Standing, **changes: object) -> Standing:
    """The same but for some fields of the game."""
    changed = deepcopy(standing)
    for name, value in changes.items():
        setattr(changed.dispute.game, name, value)
    return changed


def with_claim(standing: Standing, **changes: object) -> Standing:
    changed = deepcopy(standing)
    changed.claim.claim = replace(changed.claim.claim, **changes)
    return changed


def with_reveals(standing: Standing, reveals: list[Reveal]) -> Standing:
    return Standing(standing.claim, standing.dispute, tuple(reveals))


def garbled(value: object, rng: random.Random) -> object:
    """Something else of the same type."""
    if isinstance(value, bytes):
        return rng.choice([b"", bytes(32), rng.randbytes(31), rng.randbytes(32), rng.randbytes(33), value[::-1]])
    assert isinstance(value, int)
    return rng.choice([*NUMBERS, value + 1, value - 1, rng.randrange(300)])


def garbled_data(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return rng.choice(
        [
            b"",
            data[:-1],
            data[:at],
            data + b"\0",
            data + data,
            rng.randbytes(len(data)),
            rng.randbytes(rng.randrange(3000)),
            data[:at] + bytes([data[at - 1] ^ 1]) + data[at + 1 :] if data else b"\0",
            data[32:],
            data[32:] + data[:32],
        ]
    )


def hostile(standing: Standing, rng: random.Random) -> Standing:
    """One or two things wrong with a standing."""
    match rng.randrange(6):
        case 0 | 1:
            name = rng.choice([field.name for field in fields(Game)])
            value = getattr(standing.dispute.game, name)
            other = rng.choice(list(ENUMS[name])) if name in ENUMS else garbled(value, rng)
            return with_game(standing, **{name: other})
        case 2:
            name = rng.choice([field.name for field in fields(Claim)])
            return with_claim(standing, **{name: garbled(getattr(standing.claim.claim, name), rng)})
        case 3 if standing.reveals:
            reveals = list(standing.reveals)
            number = rng.choice([len(reveals) - 1, rng.randrange(len(reveals))])
            reveals[number] = replace(reveals[number], data=garbled_data(reveals[number].data, rng))
            return with_reveals(standing, reveals)
        case 4:
            reveals = list(standing.reveals)
            rng.shuffle(reveals)
            return with_reveals(standing, reveals[: rng.randrange(len(reveals) + 1)])
        case _:
            return hostile(hostile(standing, rng), rng)


def test_the_scene_has_every_phase() -> None:
    phases = {standing.dispute.game.phase for standing in scene().standings}
    assert phases == set(Phase) - {Phase.OVER}


@pytest.mark.parametrize("seed", range(4))
def test_nonsense_at_random(seed: int) -> None:
    rng, refused = random.Random(seed), 0
    for standing in scene().standings:
        for player in scene().players(standing.claim.claim):
            for _ in range(3):
                refused += answer(player, hostile(standing, rng)) is None
    assert refused > len(scene().standings), "most of it cannot be answered"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_much_nonsense_at_random(seed: int) -> None:
    test_nonsense_at_random(seed)


@pytest.mark.parametrize("name", [field.name for field in fields(Game) if field.name not in ENUMS])
def test_absurd_numbers_and_digests(name: str) -> None:
    """Every field of the game in every phase, with the claim as the only thing that is believed."""
    rng = random.Random(name)
    for standing in scene().standings[:: 1 + len(scene().standings) // 16]:
        value = getattr(standing.dispute.game, name)
        others = NUMBERS if isinstance(value, int) else (b"", rng.randbytes(32), rng.randbytes(40))
        for player in scene().players(None):
            for other in rng.sample(others, 3):
                answer(player, with_game(standing, **{name: other}))


BEYOND: dict[str, tuple[frozenset[Phase], Callable[[Game, Stage], int]]] = {
    "step": (frozenset(Phase) - {Phase.OVER, *INTERVALS}, lambda game, stage: STEPS),
    "high": (INTERVALS, lambda game, stage: (STEPS if game.level is Level.STEPS else steps_of(game, stage)) + 1),
    "low": (INTERVALS, lambda game, stage: game.high),
    "states": (AFTER_TRACE, lambda game, stage: game.states + 1),
    "constants": (AFTER_TRACE, lambda game, stage: game.constants - 1),
    "values": (AFTER_TRACE, lambda game, stage: game.values * 2),
    "height": (frozenset({Phase.REVEAL_CHILDREN, Phase.POINT_CHILD}), lambda game, stage: game.height + 20),
    "index": (IN_TREES, lambda game, stage: 1 << 30),
    "value": (WITH_A_VALUE, lambda game, stage: game.values),
    "size": (frozenset({Phase.POINT_ELEMENT}), lambda game, stage: game.size * 2),
    "nbytes": (frozenset({Phase.REVEAL_CHUNK, Phase.POINT_ELEMENT}), lambda game, stage: game.nbytes + 1),
    "width": (frozenset({Phase.EXECUTE}), lambda game, stage: game.width + 4),
    "element": (
        frozenset({Phase.EXECUTE}),
        lambda game, stage: stage.program.value_types[game.value].elements,
    ),
}
"""The first number that cannot be, for every field, in the phases that depend on it."""


def steps_of(game: Game, stage: Stage) -> int:
    """Scalar steps of the disputed element."""
    return scalar_steps(maker_of(stage.program, game.value).kernel, game.element)


@pytest.mark.parametrize("name", BEYOND)
def test_the_first_number_that_cannot_be(name: str) -> None:
    phases, beyond = BEYOND[name]
    tried = 0
    for standing in scene().standings:
        game = standing.dispute.game
        if game.phase in phases:
            player = scene().players(None)[game.turn is Side.CHALLENGER]
            with pytest.raises(CannotAnswer):
                player.answer(with_game(standing, **{name: beyond(game, scene().stage)}))
            tried += 1
    assert tried


def bytes_that_matter() -> list[Standing]:
    """Standings in which the next move repeats or uses what was revealed."""
    phases = (Phase.POINT_INTERVAL, Phase.POINT_TRACE, Phase.POINT_CHILD, Phase.POINT_ELEMENT, Phase.EXECUTE)
    return [shown for shown in scene().standings if shown.dispute.game.phase in phases]


def test_bytes_that_were_never_revealed() -> None:
    """A challenger never points into bytes that the referee keeps no digest of: that could only be refused."""
    rng = random.Random(5)
    for standing in bytes_that_matter():
        (_, challenger) = scene().players(None)
        assert answer(challenger, standing) is not None
        game = standing.dispute.game
        used = [n for n, reveal in enumerate(standing.reveals) if reveal.data]
        if game.phase is Phase.EXECUTE:
            trace = (Phase.REVEAL_TRACE, Phase.REVEAL_CHILDREN)
            used = [n for n in used if standing.reveals[n].phase in trace][:1]
        for _ in range(6):
            reveals, last = list(standing.reveals), used[-1]
            data = garbled_data(reveals[last].data, rng)
            if data != reveals[last].data:
                reveals[last] = replace(reveals[last], data=data)
                assert answer(challenger, with_reveals(standing, reveals)) is None


def test_other_claims_are_not_answered_for() -> None:
    standing = scene().standings[0]
    claim = standing.claim.claim
    for player in scene().players(claim):
        for changes in ({"steps": 7}, {"first_step": 0}, {"end_root": bytes(32)}, {"program_root": bytes(32)}):
            with pytest.raises(CannotAnswer, match="another claim"):
                player.answer(with_claim(standing, **changes))


def test_other_programs_are_not_answered_for() -> None:
    """Even a player who was not told the claim knows his program, as soon as a step of it is looked at."""
    for standing in scene().standings:
        if standing.dispute.game.phase is Phase.REVEAL_TRACE:
            with pytest.raises(CannotAnswer, match="another program"):
                scene().players(None)[0].answer(with_claim(standing, program_root=bytes(32)))


def test_steps_of_another_number_are_not_answered_for() -> None:
    for standing in scene().standings:
        if standing.dispute.game.phase is Phase.REVEAL_TRACE:
            first_step = standing.claim.claim.first_step + 1
            with pytest.raises(CannotAnswer, match="a step of this number"):
                scene().players(None)[0].answer(with_claim(standing, first_step=first_step))


def test_it_is_not_the_other_sides_turn() -> None:
    """A player has nothing to say where the other one has to move."""
    defender, challenger = scene().players(None)
    for standing in scene().standings:
        phase = standing.dispute.game.phase
        proves = phase in (Phase.PROVE_INPUT, Phase.PROVE_SLOT, Phase.EXECUTE)
        turn = standing.dispute.game.turn
        assert (answer(challenger, standing) is not None) is (turn is Side.CHALLENGER)
        if not proves:
            # What the liar revealed may be no tree of the honest defender's, but then he says so.
            answer(defender, standing)
