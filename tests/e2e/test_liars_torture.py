"""Liars of every kind in a program that does everything: they lose, and whoever tells the truth does not."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from disputes.liars import PesteredArena, pointing_at_random, silent, silent_defender
from disputes.stage import (
    CHALLENGER,
    WORKER,
    Dispute,
    PublicArena,
    SpecComputation,
    Stage,
    dispute,
    lie,
    quick_terms,
    torture_stage,
)
from tallystick.dispute import Challenger, Defender, LocalArena
from tallystick.dispute.faults import FAULTS
from tallystick.spec.board import PROOFS, REVEALS, Phase, Side

AT, STEPS = 3, 8
ROLES = (WORKER, CHALLENGER)
EVERY_PHASE = ("fold-step", "wrong-data-row", "skipped-step")  # together they go through all of them


NewArena = Callable[[int], PublicArena]


@pytest.fixture(scope="module")
def stage() -> Stage:
    return torture_stage()


def on_the_definition(fanout: int) -> PublicArena:
    return LocalArena(quick_terms(fanout))


def on_the_contract(fanout: int) -> PublicArena:
    """The contract and its definition at once."""
    pytest.importorskip("pyrevm")
    from evm.twin_arena import TwinArena

    return TwinArena(quick_terms(fanout))


both_arenas = pytest.mark.parametrize("new_arena", [on_the_definition, on_the_contract])


def told(
    stage: Stage,
    fault: str,
    role: str,
    seed: int,
    fanout: int = 4,
    at: int = AT,
    new_arena: NewArena = on_the_definition,
) -> Dispute:
    false = FAULTS[fault](stage.scene(at, STEPS, seed))
    return lie(stage, false, at, role, STEPS, new_arena(fanout))


@both_arenas
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_liar_loses(stage: Stage, fault: str, role: str, new_arena: NewArena) -> None:
    told(stage, fault, role, seed=1, new_arena=new_arena).check_verdict()


@pytest.mark.slow
@both_arenas
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_liar_loses_everywhere(stage: Stage, fault: str, role: str, new_arena: NewArena) -> None:
    for seed in range(8):
        for fanout in (2, 32, 64):
            told(stage, fault, role, seed, fanout, seed % (STEPS - 1), new_arena).check_verdict()


@pytest.mark.parametrize("fault", ["different-program", "flushed-subnormal", "weight-ulp"])
def test_players_need_no_engine(fault: str) -> None:
    """With the definition behind both players, the same liar loses in the same way."""
    games = []
    for computation in (SpecComputation, None):
        stage = torture_stage(computation) if computation else torture_stage()
        false = FAULTS[fault](stage.scene(0, 2))
        played = lie(stage, false, 0, WORKER, 2, LocalArena(quick_terms()))
        played.check_verdict()
        games.append([(turn.move, turn.after) for turn in played.played.turns])
    assert games[0] == games[1]


# TRUE CLAIMS


def truly_claimed(stage: Stage, seed: int, fanout: int, new_arena: NewArena = on_the_definition) -> Dispute:
    """A true claim, and a challenger who points at random."""
    end = stage.honest.state_roots([STEPS])[0]
    players, challenger = (stage.honest, stage.truth), pointing_at_random(seed)
    return dispute(stage, end, STEPS, CHALLENGER, players, new_arena(fanout), challenger=challenger)


@pytest.mark.parametrize("seed", range(60))
def test_the_truth_stands_against_pointing_at_random(stage: Stage, seed: int) -> None:
    truly_claimed(stage, seed, fanout=(2, 4, 32)[seed % 3]).check_verdict()


@pytest.mark.slow
def test_the_truth_stands_against_much_pointing(stage: Stage) -> None:
    ends = set()
    for seed in range(2000):
        played = truly_claimed(stage, seed, fanout=(2, 4, 8, 32, 64)[seed % 5])
        played.check_verdict()
        ends.add(played.last.before.phase)
    assert ends >= PROOFS


def test_an_honest_challenger_cannot_break_the_truth(stage: Stage) -> None:
    """Who challenges a true claim and is honest in the game finds nothing to point at, and loses the bond."""
    end = stage.honest.state_roots([STEPS])[0]
    arena = LocalArena(quick_terms())
    dispute(stage, end, STEPS, CHALLENGER, (stage.honest, stage.truth), arena).check_verdict()


# SILENCE


PHASES = [phase for phase in Phase if phase is not Phase.OVER]


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
@pytest.mark.parametrize("role", ROLES)
def test_silence_loses(stage: Stage, role: str, phase: Phase) -> None:
    silence_loses(stage, role, phase, on_the_definition)


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
@pytest.mark.parametrize("role", ROLES)
def test_silence_loses_on_chain(stage: Stage, role: str, phase: Phase) -> None:
    silence_loses(stage, role, phase, on_the_contract)


def silence_loses(stage: Stage, role: str, phase: Phase, new_arena: NewArena) -> None:
    """Whichever side has to move and says nothing loses, in every phase, whether it lied or not."""
    reached = 0
    mute = Side.DEFENDER if phase in REVEALS else Side.CHALLENGER
    for fault in EVERY_PHASE:
        false = FAULTS[fault](stage.scene(AT, STEPS))
        defender = silent(Defender, *PROOFS, phase)
        challenger = silent(Challenger, phase)
        arena = PesteredArena(new_arena(4), seed=1)
        played = lie(stage, false, AT, role, STEPS, arena, defender, challenger)
        if played.last.before.phase is phase:
            reached += 1
            assert played.last.move is None
            assert played.played.winner not in (mute, Side.NOBODY)
        else:
            played.check_verdict()
    assert reached, f"no game came to {phase.name}"


@pytest.mark.parametrize("fault", EVERY_PHASE)
def test_the_truth_is_proved_in_place_of_a_silent_challenger(stage: Stage, fault: str) -> None:
    """Where anyone may prove, an honest defender need not wait for the challenger's time to run out."""
    false = FAULTS[fault](stage.scene(AT, STEPS))
    played = lie(stage, false, AT, CHALLENGER, STEPS, challenger=silent(Challenger, *PROOFS))
    played.check_verdict()
    assert played.last.side is Side.DEFENDER and played.last.before.phase in PROOFS
    assert played.last.move is not None, "the clock has nothing to do with it"


def test_liars_do_not_prove_themselves_wrong(stage: Stage) -> None:
    """A lying defender leaves the proof to the challenger, and is convicted by it."""
    false = FAULTS["weight-ulp"](stage.scene(AT, STEPS))
    played = lie(stage, false, AT, WORKER, STEPS, defender=silent_defender)
    played.check_verdict()
    assert played.last.side is Side.CHALLENGER and played.last.before.phase is Phase.EXECUTE


# ILLEGAL MOVES


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("fault", EVERY_PHASE)
def test_illegal_moves_change_nothing(stage: Stage, fault: str, role: str) -> None:
    illegal_moves_change_nothing(stage, fault, role, on_the_definition)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("fault", EVERY_PHASE)
def test_illegal_moves_change_nothing_on_chain(stage: Stage, fault: str, role: str) -> None:
    """And are refused for the reason that the definition gives."""
    illegal_moves_change_nothing(stage, fault, role, on_the_contract)


def illegal_moves_change_nothing(stage: Stage, fault: str, role: str, new_arena: NewArena) -> None:
    """Damaged moves, moves out of turn, by the wrong side, of another game, too late: each is refused."""
    scene = stage.scene(AT, STEPS)
    other = lie(stage, FAULTS["stale-moment"](scene), AT, WORKER, STEPS, LocalArena(quick_terms(4)))
    moves = tuple(turn.move for turn in other.played.turns if turn.move is not None)
    arena = PesteredArena(new_arena(4), seed=3, replayed=moves)
    false = FAULTS[fault](scene)
    played = lie(stage, false, AT, role, STEPS, arena)
    played.check_verdict()
    assert arena.refused > 20 * len(arena.made)
    plain = lie(stage, false, AT, role, STEPS, LocalArena(quick_terms(4)))
    assert [turn.after for turn in plain.played.turns] == [turn.after for turn in played.played.turns]


def test_a_game_that_is_over_takes_no_moves(stage: Stage) -> None:
    played = told(stage, "weight-ulp", WORKER, seed=1)
    pestered = PesteredArena(played.arena, seed=0)
    for turn in played.played.turns:
        assert turn.move is not None
        pestered.refuse(played.arena.worker, played.game, turn.move, "game is over")


# DIGESTS OF NOTHING


@pytest.mark.parametrize("seed", range(6))
def test_digests_that_nothing_hashes_to(stage: Stage, seed: int) -> None:
    """A liar who commits to digests out of thin air has nothing to show when he is asked."""
    rng = random.Random(seed)
    trace = stage.faulty(AT)
    value = rng.randrange(len(trace.types))
    trace._known[value] = rng.randbytes(32)
    slot = rng.randrange(len(trace.new_state))
    trace.end_digests[slot] = rng.randbytes(32)
    lie(stage, [trace], AT, WORKER, AT + 1, LocalArena(quick_terms(4))).check_verdict()
