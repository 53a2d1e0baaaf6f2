"""An arena without a chain: the referee's definition and a clock set by hand."""

from __future__ import annotations

from copy import deepcopy

from tallystick.dispute.arena import Reveal, Standing
from tallystick.spec.board import REVEALS, Claim, Phase
from tallystick.spec.moves import Move, RevealChildren, RevealChunk, RevealInterval, RevealTensor, RevealTrace
from tallystick.spec.referee import Referee, Terms


class LocalArena:
    """Satisfies ``Arena``. Time stands still until ``wait``."""

    def __init__(self, terms: Terms | None = None) -> None:
        self.referee = Referee(terms or Terms())
        self.terms = self.referee.terms
        self._now = 0
        self._reveals: dict[int, tuple[Reveal, ...]] = {}

    def now(self) -> int:
        return self._now

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self._now += seconds

    def post_claim(self, sender: str, claim: Claim) -> int:
        """Stand for a claim."""
        return self.referee.post_claim(sender, self._now, claim)

    def challenge(self, sender: str, claim: int) -> int:
        """Dispute a claim."""
        return self.referee.challenge(sender, self._now, claim)

    def standing(self, game: int) -> Standing:
        dispute = self.referee.games[game]
        posted = self.referee.claims[dispute.claim]
        return deepcopy(Standing(posted, dispute, self._reveals.get(game, ())))

    def move(self, sender: str, game: int, move: Move) -> int:
        phase = self.referee.games[game].game.phase if 0 <= game < len(self.referee.games) else Phase.OVER
        self.referee.move(sender, self._now, game, move)
        if phase in REVEALS:
            self._reveals[game] = (*self._reveals.get(game, ()), Reveal(phase, revealed_by(move)))
        return 0

    def timeout(self, sender: str, game: int) -> int:
        self.referee.timeout(self._now, game)
        return 0


def revealed_by(move: Move) -> bytes:
    """The bytes that a move shows to the other side."""
    match move:
        case RevealInterval():
            return move.items
        case RevealTrace() | RevealChildren() | RevealTensor():
            return b"".join(move.children)
        case RevealChunk():
            return move.chunk
        case _:
            raise AssertionError("only the defender reveals")
