"""Many claims and games at one referee, in any order: whatever anybody does, contract and definition agree, and in the
end every token has found its way out.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

pytest.importorskip("pyrevm")

from evm.referee_twins import Twins
from tallystick.errors import IllegalMove
from tallystick.spec.board import Side
from tallystick.spec.referee import Status, Terms
from toy.illegal import damaged, made_up
from toy.match import lying, truth
from toy.players import Challenger, Defender, LyingDefender, RandomChallenger, Table
from toy.story import Story

TERMS = Terms(4, move_s=50, total_s=120, window_s=200, defender_bond=1001, challenger_bond=77, winner_share=3333)
ACCOUNTS = 4
PROGRAMS = (("counter", 3), ("running sum", 1), ("scatter with both", 1), ("swapped", 2), ("chain", 1))

someone = st.integers(0, ACCOUNTS - 1)
anything = st.integers(0, 7)
seeds = st.integers(0, 1 << 20)


@dataclass
class Board:
    """Who plays a game, and what was seen in it."""

    defending: Defender
    pointing: Challenger
    table: Table = field(default_factory=Table)


class RefereeMachine(RuleBasedStateMachine):
    """Rules try what they like; what is refused must be refused by both."""

    def __init__(self) -> None:
        super().__init__()
        self.twins = Twins(TERMS, ACCOUNTS)
        self.defenders: list[Defender] = []
        self.boards: list[Board] = []

    @rule(who=someone, program=st.sampled_from(PROGRAMS), seed=seeds)
    def post_claim(self, who: int, program: tuple[str, int], seed: int) -> None:
        true, rng = truth(program[0], 0, program[1]), random.Random(seed)
        story = lying(true, rng) if seed % 2 else true
        self.twins.post_claim(self.twins.accounts[who], story.claim)
        self.defenders.append(LyingDefender(story, TERMS.fanout, rng) if seed % 2 else Defender(story, TERMS.fanout))

    @rule(who=someone, claim=anything, seed=seeds)
    def challenge(self, who: int, claim: int, seed: int) -> None:
        def action() -> None:
            self.twins.challenge(self.twins.accounts[who], claim)
            defending = self.defenders[claim]
            story = truth_of(defending)
            rng = random.Random(seed)
            pointing = Challenger(story, TERMS.fanout) if seed % 3 else RandomChallenger(story, TERMS.fanout, rng)
            self.boards.append(Board(defending, pointing))

        attempt(action)

    @rule(game=anything, turns=st.integers(1, 12), seed=seeds)
    def play(self, game: int, turns: int, seed: int) -> None:
        """Both sides move for a while."""
        for _ in range(turns):
            if game < len(self.boards):
                attempt(lambda: self.one_move(game, seed, None))

    @rule(game=anything, seed=seeds, who=someone)
    def misbehave(self, game: int, seed: int, who: int) -> None:
        """Somebody, perhaps the one who has to move, tries what he should not."""
        if game < len(self.boards):
            attempt(lambda: self.one_move(game, seed, self.twins.accounts[who]))
        else:
            attempt(lambda: self.twins.move(self.twins.accounts[who], game, made_up(random.Random(seed))))

    def one_move(self, number: int, seed: int, sender: str | None) -> None:
        dispute, board, rng = self.twins.spec.games[number], self.boards[number], random.Random(seed)
        posted = self.twins.spec.claims[dispute.claim]
        defends = dispute.game.turn is Side.DEFENDER
        player = board.defending if defends else board.pointing
        try:
            move = player.answer(dispute.game, board.table) if not dispute.closed else None
        except (AssertionError, StopIteration, IndexError):
            move = None  # an honest challenger of a true claim, or after moves that others made for him
        move = move or made_up(rng)
        if sender is not None and seed % 3:
            move = damaged(move, rng)
        self.twins.move(sender or (posted.defender if defends else dispute.challenger), number, move)
        board.table.saw(dispute.game, move)

    @rule(seconds=st.sampled_from([1, 10, 50, 51, 120, 200]))
    def wait(self, seconds: int) -> None:
        self.twins.wait(seconds)

    @rule(who=someone, game=anything)
    def timeout(self, who: int, game: int) -> None:
        attempt(lambda: self.twins.timeout(self.twins.accounts[who], game))

    @rule(who=someone, game=anything)
    def refund(self, who: int, game: int) -> None:
        attempt(lambda: self.twins.refund(self.twins.accounts[who], game))

    @rule(who=someone, claim=anything)
    def release(self, who: int, claim: int) -> None:
        attempt(lambda: self.twins.release(self.twins.accounts[who], claim))

    @rule(who=someone)
    def withdraw(self, who: int) -> None:
        attempt(lambda: self.twins.withdraw(self.twins.accounts[who]))

    @invariant()
    def bonds_are_held(self) -> None:
        spec = self.twins.spec
        claims = sum(claim.status is Status.OPEN for claim in spec.claims)
        games = sum(not game.closed for game in spec.games)
        assert spec.held == claims * TERMS.defender_bond + games * TERMS.challenger_bond

    def teardown(self) -> None:
        """Time alone ends every game, and everything that is not burned is paid out."""
        anybody, spec = self.twins.accounts[0], self.twins.spec
        self.twins.wait(TERMS.window_s + TERMS.total_s)
        for number, game in enumerate(spec.games):
            if not game.closed and spec.claims[game.claim].status is Status.OPEN:
                self.twins.timeout(anybody, number)
        for number, game in enumerate(spec.games):
            if not game.closed:
                self.twins.refund(anybody, number)
        for number, claim in enumerate(spec.claims):
            if claim.status is Status.OPEN:
                self.twins.release(anybody, number)
        for account in list(spec.owed):
            self.twins.withdraw(account)
        assert spec.held == 0


def truth_of(defender: Defender) -> Story:
    """What really happened where a defender tells a story."""
    story = defender.story
    name = next(name for name, _ in PROGRAMS if truth(name, 0, 1).program is story.program)
    return truth(name, story.first_step, story.steps)


def attempt(action: Callable[[], object]) -> None:
    with suppress(IllegalMove):
        action()


def run(examples: int) -> None:
    run_state_machine_as_test(
        RefereeMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_anything_in_any_order() -> None:
    run(30)


@pytest.mark.slow
def test_much_more_in_any_order() -> None:
    run(300)
