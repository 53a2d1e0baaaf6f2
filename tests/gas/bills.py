"""What disputes cost: played in real transactions on the embedded chain, every one of them counted."""

from __future__ import annotations

from dataclasses import dataclass

from gas.scenes import Course
from tallystick.job.stands import ChainStand, chain_stand
from tallystick.spec.board import Phase, Side
from tallystick.spec.game import open_game
from tallystick.spec.game import play as play_by_definition
from tallystick.spec.referee import Terms


@dataclass(frozen=True)
class Bill:
    """Every transaction of a dispute, in order: the function, and the gas it paid."""

    spent: tuple[tuple[str, int], ...]
    winner: Side

    @property
    def gas(self) -> int:
        return sum(gas for _, gas in self.spent)

    @property
    def transactions(self) -> int:
        return len(self.spent)

    def dearest(self, function: str) -> int:
        """The gas of the dearest call of a function; 0 if there was none."""
        return max((gas for name, gas in self.spent if name == function), default=0)


def play(course: Course, terms: Terms | None = None) -> Bill:
    """A dispute from the approval of the bonds to the verdict, on a fresh chain and beside it in the definition."""
    arena = chain_stand("embedded", terms or Terms())
    already = len(arena.spent)
    number = arena.challenge(arena.challenger, arena.post_claim(arena.worker, course.claim))
    game = open_game(course.claim)
    while game.phase is not Phase.OVER:
        side = arena.worker if game.turn is Side.DEFENDER else arena.challenger
        move = course.answer(game, arena.terms.fanout)
        play_by_definition(game, course.claim, arena.terms.fanout, move)
        arena.move(side, number, move)
    assert arena.game(number).game == game, "the contract's game is not the definition's"
    return Bill(bill_of(arena, already), game.winner)


def bill_of(arena: ChainStand, start: int = 0) -> tuple[tuple[str, int], ...]:
    """What was spent on an arena, from some transaction on."""
    return tuple((spent.what, spent.gas) for spent in arena.spent[start:])
