"""Whole disputes about toy programs, drawn from a seed: one claim, several challengers, honest or not, a stranger."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from evm.referee_contract import FUNDS
from evm.referee_twins import Twins
from tallystick.errors import IllegalMove
from tallystick.spec.board import PROOFS, Side
from tallystick.spec.moves import Move
from tallystick.spec.referee import PostedGame, Status, Terms
from toy.illegal import damaged, made_up
from toy.players import Challenger, Defender, LyingDefender, RandomChallenger, Table
from toy.programs import TOYS
from toy.story import KINDS, Lie, Story

MINIMAL = Terms(fanout=2, move_s=60, total_s=150, window_s=600, defender_bond=1000, challenger_bond=101)
NORMAL = Terms()
FIRST_STEPS = (0, 123_456, (1 << 31) - 1100)
MOST_ACTIONS = 2_000  # in a dispute; one that takes more is stuck


@cache
def truth(name: str, first_step: int, steps: int) -> Story:
    """What really happened."""
    return Story(TOYS[name].case, first_step, steps)


def lying(true: Story, rng: random.Random) -> Story:
    """The same with a lie that shows in the end."""
    for _ in range(20):
        step = true.steps - 1 if rng.random() < 0.5 else rng.randrange(true.steps)
        story = true.with_lie(Lie(rng.choice(KINDS), step, rng.randrange(1 << 20), rng.getrandbits(32)))
        if story.root(true.steps) != true.root(true.steps):
            return story
    return true.with_lie(Lie("slot", true.steps - 1, 0, 7))


@dataclass
class Seat:
    """A challenger and what he has seen. ``honest`` is whether nothing may happen to him."""

    account: str
    player: Challenger
    honest: bool
    game: int = -1
    table: Table = field(default_factory=Table)


class Match:
    """One claim and the games about it, played to their ends on both referees at once."""

    def __init__(self, rng: random.Random, terms: Terms) -> None:
        self.rng, self.terms = rng, terms
        self.twins = Twins(terms)
        self.defender, *self.others, self.stranger = self.twins.accounts
        name = rng.choice(sorted(TOYS))
        self.true = truth(name, rng.choice(FIRST_STEPS), rng.choice(TOYS[name].steps))
        self.is_lie = rng.random() < 0.6
        self.story = lying(self.true, rng) if self.is_lie else self.true
        self.name = f"{name}, {self.true.steps} steps, {self.story.lie}"
        self.made: list[Move] = []
        self.slack = 0  # seconds that honest sides took so far

    def play(self) -> None:
        """From the claim to the last withdrawal."""
        self.claim = self.twins.post_claim(self.defender, self.story.claim)
        self.sit_down()
        for _ in range(MOST_ACTIONS):
            if not self.open_seats():
                break
            self.act()
        assert not self.open_seats(), "the game is stuck"
        self.finish()

    def sit_down(self) -> None:
        fanout, rng = self.terms.fanout, self.rng
        self.defending = LyingDefender(self.story, fanout, rng) if self.is_lie else Defender(self.true, fanout)
        self.seats: list[Seat] = []
        for account in self.others[: rng.randint(1, 3)]:
            honest = self.is_lie and (not self.seats or rng.random() < 0.5)
            player = Challenger(self.true, fanout) if honest else RandomChallenger(self.true, fanout, rng)
            seat = Seat(account, player, honest)
            seat.game = self.twins.challenge(account, self.claim)
            self.seats.append(seat)
            self.twins.wait(rng.randint(0, 2))
            for each in self.seats:
                self.move_if_honest(each)

    # ACTIONS

    def act(self) -> None:
        """Honest sides move at once; then somebody else does something, or time passes."""
        for seat in self.open_seats():
            self.move_if_honest(seat)
        seats = self.open_seats()
        if not seats:
            return
        seat = self.rng.choice(seats)
        match self.rng.randrange(12):
            case 0 | 1:
                self.misbehave(seat)
            case 2 if self.rng.random() < 0.3:
                self.stall(seat)
            case 3:
                self.meddle(seat)
            case 4 | 5:
                self.dawdle(seat)
                self.move(seat)
            case _:
                self.move(seat)

    def open_seats(self) -> list[Seat]:
        """Those whose games go on; the others' bonds are asked back now and then when the claim is decided."""
        if self.twins.spec.claims[self.claim].status is Status.CONVICTED:
            for seat in self.seats:
                if not self.dispute(seat).closed:
                    self.try_all(seat)
                    self.twins.refund(self.stranger, seat.game)
            return []
        return [seat for seat in self.seats if not self.dispute(seat).closed]

    def dispute(self, seat: Seat) -> PostedGame:
        return self.twins.spec.games[seat.game]

    def honest_to_move(self, seat: Seat) -> bool:
        turn = self.dispute(seat).game.turn
        return (turn is Side.DEFENDER and not self.is_lie) or (turn is Side.CHALLENGER and seat.honest)

    def move_if_honest(self, seat: Seat) -> None:
        """As often as it is an honest side's turn, without letting time pass that others have."""
        while not self.dispute(seat).closed and self.honest_to_move(seat):
            if self.twins.spec.claims[self.claim].status is not Status.OPEN:
                return
            self.move(seat)

    def move(self, seat: Seat) -> None:
        """The side that has to move does so as well as it can, or runs out of time."""
        game = self.dispute(seat).game
        turn = game.turn
        player, account = self.mover(seat)
        move = player.answer(game, seat.table)
        if move is None:
            self.stall(seat)
            return
        try:
            self.make(account, seat, move)
        except IllegalMove:
            assert not (self.is_lie is False and turn is Side.DEFENDER), "an honest defender's move was refused"
            assert not (seat.honest and turn is Side.CHALLENGER), "an honest challenger's move was refused"
            self.stall(seat)

    def mover(self, seat: Seat) -> tuple[Defender | Challenger, str]:
        """Who has to move."""
        if self.dispute(seat).game.turn is Side.DEFENDER:
            return self.defending, self.defender
        return seat.player, seat.account

    def make(self, account: str, seat: Seat, move: Move) -> None:
        self.twins.move(account, seat.game, move)
        seat.table.saw(self.dispute(seat).game, move)
        self.made.append(move)

    def dawdle(self, seat: Seat) -> None:
        """The side that has to move, a liar, takes its time, so that its total runs out."""
        left = self.dispute(seat).deadline(self.terms) - self.twins.now
        self.twins.wait(self.rng.randint(0, max(0, left)))

    def stall(self, seat: Seat) -> None:
        """The side that has to move lets its time run out. Nobody else's does: all honest sides have moved."""
        for each in self.open_seats():
            self.move_if_honest(each)
        if self.dispute(seat).closed or self.twins.spec.claims[self.claim].status is not Status.OPEN:
            return
        if self.honest_to_move(seat):
            return
        dispute = self.dispute(seat)
        deadline = dispute.deadline(self.terms)
        if self.twins.now <= deadline and self.rng.random() < 0.5:
            self.twins.wait(deadline - self.twins.now)
            self.refused(lambda: self.twins.timeout(self.stranger, seat.game), "not too late yet")
            if self.rng.random() < 0.3:
                return  # and moves in the last second, perhaps
        self.twins.wait(max(0, deadline - self.twins.now) + 1)
        player, account = self.mover(seat)
        move = player.answer(dispute.game, seat.table) or made_up(self.rng)
        self.refused(lambda: self.twins.move(account, seat.game, move), "too late")
        self.twins.timeout(self.rng.choice(self.twins.accounts), seat.game)

    # WHAT SHOULD NOT WORK

    def misbehave(self, seat: Seat) -> None:
        """A stranger or a liar tries something: the right move by the wrong side, a damaged one, an old one."""
        player, account = self.mover(seat)
        right = player.answer(self.dispute(seat).game, seat.table) or made_up(self.rng)
        sender = self.stranger if self.honest_to_move(seat) or self.rng.random() < 0.5 else account
        match self.rng.randrange(4):
            case 0:
                move = damaged(right, self.rng)
            case 1 if self.made:
                move = self.rng.choice(self.made)
            case 2:
                move = made_up(self.rng)
            case _:
                move, sender = right, self.stranger
        phase = self.dispute(seat).game.phase
        try:
            self.make(sender, seat, move)
        except IllegalMove:
            return
        assert sender != self.stranger or phase in PROOFS, "a stranger may prove, nothing else"

    def meddle(self, seat: Seat) -> None:
        """What is not due yet."""
        twins, rng = self.twins, self.rng
        number = rng.choice([seat.game, len(twins.spec.games), 1 << 40])
        self.refused(lambda: twins.refund(self.stranger, number))
        self.refused(lambda: twins.release(self.stranger, rng.choice([self.claim, self.claim + 1])))
        if number != seat.game or twins.now <= self.dispute(seat).deadline(self.terms):
            self.refused(lambda: twins.timeout(self.stranger, number))
        self.refused(lambda: twins.withdraw(self.stranger), "nothing owed")
        self.refused(lambda: twins.move(self.stranger, number, made_up(rng)))
        self.refused(lambda: twins.challenge(self.stranger, self.claim + 1), "no such claim")

    def try_all(self, seat: Seat) -> None:
        """Nothing can be done in a game whose claim was convicted in another."""
        self.refused(lambda: self.twins.timeout(self.stranger, seat.game), "claim is decided")
        self.refused(lambda: self.twins.move(seat.account, seat.game, made_up(self.rng)), "claim is decided")
        self.refused(lambda: self.twins.challenge(self.stranger, self.claim), "claim is decided")

    def refused(self, action: Callable[[], Any], reason: str | None = None) -> None:
        try:
            action()
        except IllegalMove as error:
            assert reason is None or error.reason == reason
            return
        raise AssertionError("this should have been refused")

    # THE END

    def finish(self) -> None:
        """Who was right has not lost, who lied has; all tokens are accounted for."""
        twins, spec = self.twins, self.twins.spec
        status = spec.claims[self.claim].status
        assert status is (Status.CONVICTED if self.is_lie else Status.OPEN)
        if not self.is_lie:
            assert all(self.dispute(seat).game.winner is Side.DEFENDER for seat in self.seats)
            twins.wait(max(0, spec.claims[self.claim].closes - twins.now))
            self.refused(lambda: twins.release(self.stranger, self.claim), "window is open")
            twins.wait(1)
            self.refused(lambda: twins.challenge(self.stranger, self.claim), "window is over")
            twins.release(self.stranger, self.claim)
        for seat in self.seats:
            self.refused(lambda game=seat.game: twins.refund(self.stranger, game), "game is over")
        for account in list(spec.owed):
            twins.withdraw(account)
        assert spec.held == 0
        self.check_balances()

    def check_balances(self) -> None:
        balance = self.twins.contract.balance
        assert balance(self.stranger) == FUNDS
        gained = {seat.account: balance(seat.account) - FUNDS for seat in self.seats}
        assert all(gained[seat.account] >= 0 for seat in self.seats if seat.honest), "an honest challenger lost"
        if self.is_lie:
            most = len(self.seats) * self.terms.challenger_bond
            assert balance(self.defender) <= FUNDS - self.terms.defender_bond + most
            return
        assert balance(self.defender) >= FUNDS, "an honest defender lost"
        assert all(gain == -self.terms.challenger_bond for gain in gained.values())


def play(seed: int, terms: Terms) -> Match:
    """A whole dispute, the same for the same seed."""
    match = Match(random.Random(seed), terms)
    match.play()
    return match
