"""Playing a game to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tallystick.dispute.arena import Arena
from tallystick.dispute.players import Player
from tallystick.errors import CannotAnswer, IllegalMove
from tallystick.spec.board import PROOFS, Game, Phase, Side
from tallystick.spec.moves import Move
from tallystick.spec.standing import Standing

MOST_MOVES = 1_000  # no game comes near it: intervals and trees shrink with every move


@dataclass(frozen=True)
class Turn:
    """One move of a match. ``before`` and ``after`` are the game around it.

    ``side`` made it; ``move`` is None where the side to move had nothing to say and its time ran out. ``trouble`` says
    why, or why a move was refused. ``computed_s`` is how long the player worked it out, ``gas`` what it cost.
    """

    side: Side
    before: Game
    after: Game
    move: Move | None
    trouble: str | None
    computed_s: float
    gas: int


@dataclass(frozen=True)
class Played:
    """A game that is over."""

    winner: Side
    turns: tuple[Turn, ...]

    @property
    def gas(self) -> int:
        """Of all moves."""
        return sum(turn.gas for turn in self.turns)


class Match:
    """Lets two players answer each other until the referee has decided.

    ``wait`` lets so many seconds pass on the arena's clock; ``watch`` is called after every turn. Where anyone may
    prove and the challenger does not, the defender does.
    """

    def __init__(
        self,
        arena: Arena,
        game: int,
        defender: Player,
        challenger: Player,
        wait: Callable[[int], None],
        watch: Callable[[Turn], None] = lambda turn: None,
    ) -> None:
        self.arena = arena
        self.game = game
        self.players = {Side.DEFENDER: defender, Side.CHALLENGER: challenger}
        self.wait = wait
        self.watch = watch

    def play(self) -> Played:
        """All turns up to the verdict."""
        turns: list[Turn] = []
        standing = self.arena.standing(self.game)
        while standing.dispute.game.phase is not Phase.OVER:
            assert len(turns) < MOST_MOVES, "a game ends"
            turn = self.turn(standing)
            turns.append(turn)
            self.watch(turn)
            standing = self.arena.standing(self.game)
        return Played(standing.dispute.game.winner, tuple(turns))

    def turn(self, standing: Standing) -> Turn:
        """The side to move moves; another proves in its place; or its time runs out."""
        game = standing.dispute.game
        sides = [game.turn]
        if game.phase in PROOFS:
            sides.append(Side.DEFENDER)
        troubles: list[str] = []
        for side in sides:
            began = time.monotonic()
            try:
                move = self.players[side].answer(standing)
                computed = time.monotonic() - began
                gas = self.arena.move(self.players[side].address, self.game, move)
            except (CannotAnswer, IllegalMove) as error:
                troubles.append(str(error))
                continue
            trouble = troubles[0] if troubles else None
            return Turn(side, game, self.arena.standing(self.game).dispute.game, move, trouble, computed, gas)
        return self.run_out(standing, troubles[0])

    def run_out(self, standing: Standing, trouble: str) -> Turn:
        """The other side waits for the deadline and ends the game."""
        game = standing.dispute.game
        other = Side.CHALLENGER if game.turn is Side.DEFENDER else Side.DEFENDER
        self.wait(standing.dispute.deadline(self.arena.terms) - self.arena.now() + 1)
        gas = self.arena.timeout(self.players[other].address, self.game)
        return Turn(other, game, self.arena.standing(self.game).dispute.game, None, trouble, 0.0, gas)
