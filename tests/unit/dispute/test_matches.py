"""Games on the definition's own arena: turns, clocks, proofs by whoever likes, moves that are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from disputes.liars import silent
from disputes.stage import Stage, dispute, false_element, quick_terms, torture_stage
from tallystick.dispute import (
    Challenger,
    Defender,
    FaultyReplay,
    LocalArena,
    Match,
    Player,
    TraceProvider,
    Turn,
)
from tallystick.errors import CannotAnswer, IllegalMove
from tallystick.spec.board import PROOFS, REVEALS, Phase, Side
from tallystick.spec.moves import PointGather, RevealInterval
from tallystick.spec.referee import WHOLE, Status
from torture_program import torture

AT, STEPS = 2, 5
Maker = Callable[[str, TraceProvider, int], Player]


@pytest.fixture(scope="module")
def stage() -> Stage:
    return torture_stage()


@pytest.fixture(scope="module")
def liar(stage: Stage) -> FaultyReplay:
    """One wrong bit in a weight."""
    return FaultyReplay(stage.truth, AT, [false_element(stage, AT, torture().values["next model.weight"], 7)])


@pytest.fixture
def arena() -> LocalArena:
    return LocalArena(quick_terms(4))


def match(
    stage: Stage, liar: FaultyReplay, arena: LocalArena, defender: Maker = Defender, challenger: Maker = Challenger
) -> Match:
    """A false claim, disputed."""
    end = liar.state_roots([STEPS])[0]
    claim = arena.post_claim(arena.worker, stage.claim(end, STEPS))
    game = arena.challenge(arena.challenger, claim)
    players = (defender(arena.worker, liar, 4), challenger(arena.challenger, stage.honest, 4))
    return Match(arena, game, *players, arena.wait)


# MATCHES


def test_turns_follow_each_other(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    seen: list[Turn] = []
    played = match(stage, liar, arena)
    played.watch = seen.append
    found = played.play()
    assert found.turns == tuple(seen) and found.winner is Side.CHALLENGER and found.gas == 0
    for turn, following in zip(found.turns, found.turns[1:], strict=False):
        assert turn.after == following.before
        assert turn.side is turn.before.turn
        assert turn.move is not None and turn.trouble is None and turn.computed_s >= 0
    assert found.turns[-1].after.phase is Phase.OVER


def test_time_runs_out_for_who_says_nothing(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    found = match(stage, liar, arena, challenger=silent(Challenger, Phase.POINT_INTERVAL)).play()
    last = found.turns[-1]
    assert found.winner is Side.DEFENDER, "even who is right has to say so"
    assert (last.side, last.move, last.trouble) == (Side.DEFENDER, None, "I say nothing")
    assert arena.now() == arena.terms.move_s + 1


def test_time_is_counted_from_the_last_move(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    """Moves right before the deadline are in time, up to the total of a side."""
    playing = match(stage, liar, arena)
    moves = 0
    while True:
        standing = arena.standing(0)
        if standing.dispute.game.phase is Phase.OVER:
            break
        arena.wait(standing.dispute.deadline(arena.terms) - arena.now())
        turn = playing.turn(standing)
        moves += turn.move is not None
    assert arena.standing(0).dispute.game.winner is not Side.NOBODY
    assert moves >= arena.terms.total_s // arena.terms.move_s, "each side has ten whole moves"


def test_moves_that_are_refused_are_no_moves(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    class Stubborn(Defender):
        def respond(self, standing):
            return RevealInterval(b"too short")

    found = match(stage, liar, arena, defender=Stubborn).play()
    (only,) = found.turns
    assert found.winner is Side.CHALLENGER and only.move is None
    assert only.trouble == str(IllegalMove("wrong length"))


def test_the_defender_proves_where_the_challenger_does_not(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    """With the truth claimed and the lie told by the challenger."""
    end = stage.honest.state_roots([STEPS])[0]
    players = (stage.honest, liar)
    found = dispute(stage, end, STEPS, "challenger", players, arena, challenger=silent(Challenger, *PROOFS))
    found.check_verdict()
    assert found.last.side is Side.DEFENDER and found.last.trouble == "I say nothing"
    assert found.last.move is not None and arena.now() == 0, "nobody had to wait"


def test_errors_that_are_no_answers_are_not_swallowed(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    class Broken(Defender):
        def respond(self, standing):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        match(stage, liar, arena, defender=Broken).play()


# ARENAS


def played_to(phases: frozenset[Phase], playing: Match) -> None:
    """Play up to one of these phases."""
    while playing.arena.standing(playing.game).dispute.game.phase not in phases:
        playing.turn(playing.arena.standing(playing.game))


def test_anyone_may_prove(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    """A third party's proof counts, and the challenger has the reward."""
    playing = match(stage, liar, arena)
    played_to(PROOFS, playing)
    standing = arena.standing(playing.game)
    move = playing.players[Side.CHALLENGER].answer(standing)
    arena.move("somebody else", playing.game, move)
    assert arena.standing(playing.game).dispute.game.winner is Side.CHALLENGER
    terms = arena.terms
    assert arena.owed("challenger") == terms.challenger_bond + terms.defender_bond * terms.winner_share // WHOLE
    assert (arena.owed("worker"), arena.owed("somebody else")) == (0, 0)


def test_nobody_else_may_reveal_or_point(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    playing = match(stage, liar, arena)
    for phases in (REVEALS, frozenset({Phase.POINT_INTERVAL})):
        played_to(phases, playing)
        standing = arena.standing(playing.game)
        move = playing.players[standing.dispute.game.turn].answer(standing)
        for stranger in ("somebody else", "challenger" if phases is REVEALS else "worker"):
            with pytest.raises(IllegalMove, match="not your turn"):
                arena.move(stranger, playing.game, move)
        assert arena.standing(playing.game) == standing


def test_what_is_revealed_is_shown_and_nothing_else(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    playing = match(stage, liar, arena)
    assert arena.standing(0).revealed == b"" and arena.standing(0).reveals == ()
    with pytest.raises(IllegalMove):
        arena.move("worker", 0, RevealInterval(b"wrong"))
    assert arena.standing(0).reveals == ()
    turn = playing.turn(arena.standing(0))
    assert isinstance(turn.move, RevealInterval)
    assert arena.standing(0).revealed == turn.move.items
    playing.turn(arena.standing(0))
    assert len(arena.standing(0).reveals) == 1, "the challenger reveals nothing"


def test_a_standing_is_a_copy(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    match(stage, liar, arena)
    standing = arena.standing(0)
    standing.dispute.game.phase = Phase.OVER
    standing.claim.status = Status.CONVICTED
    assert arena.standing(0).dispute.game.phase is Phase.REVEAL_INTERVAL
    assert arena.standing(0).claim.status is Status.OPEN


def test_games_that_do_not_exist(arena: LocalArena) -> None:
    for game in (0, 1, 1 << 200):
        with pytest.raises(IllegalMove, match="no such game"):
            arena.move("worker", game, PointGather())
        with pytest.raises(IllegalMove, match="no such game"):
            arena.timeout("worker", game)


def test_too_late_and_not_too_late_yet(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    playing = match(stage, liar, arena)
    move = playing.players[Side.DEFENDER].answer(arena.standing(0))
    arena.wait(arena.terms.move_s)
    with pytest.raises(IllegalMove, match="not too late yet"):
        arena.timeout("anyone", 0)
    arena.wait(1)
    with pytest.raises(IllegalMove, match="too late"):
        arena.move("worker", 0, move)
    arena.timeout("anyone", 0)
    assert arena.standing(0).dispute.game.winner is Side.CHALLENGER
    with pytest.raises(IllegalMove, match="game is over"):
        arena.move("worker", 0, move)


def test_parallel_challengers_play_games_of_their_own(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    """The first conviction decides the claim; who was still playing has the bond back."""
    first = match(stage, liar, arena)
    second = arena.challenge("another challenger", 0)
    other = Match(arena, second, Defender("worker", liar, 4), Challenger("another challenger", stage.honest, 4), print)
    for _ in range(3):
        other.turn(arena.standing(second))
    before = arena.standing(second)
    assert first.play().winner is Side.CHALLENGER
    assert arena.standing(second).dispute == before.dispute, "one game does not touch the other"
    with pytest.raises(IllegalMove, match="claim is decided"):
        arena.move("worker", second, PointGather())
    arena.referee.refund(second)
    assert arena.owed("another challenger") == arena.terms.challenger_bond
    assert arena.referee.held == 0


def test_players_know_when_they_have_nothing_to_say(stage: Stage, liar: FaultyReplay, arena: LocalArena) -> None:
    playing = match(stage, liar, arena)
    with pytest.raises(CannotAnswer, match="nothing for the challenger"):
        playing.players[Side.CHALLENGER].answer(arena.standing(0))
    playing.turn(arena.standing(0))
    with pytest.raises(CannotAnswer, match="nothing for the defender"):
        playing.players[Side.DEFENDER].answer(arena.standing(0))
