"""An arena without a chain: the referee's definition and a clock set by hand."""

from __future__ import annotations

from copy import deepcopy

from tallystick.spec.board import REVEALS, Claim, Phase
from tallystick.spec.moves import Move
from tallystick.spec.referee import Referee, Terms
from tallystick.spec.standing import Reveal, Standing, revealed_by


class LocalArena:
    """Satisfies ``Arena``. Time stands still until ``wait``."""

    worker = "worker"
    challenger = "challenger"

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

    def owed(self, address: str) -> int:
        """What somebody may withdraw."""
        return self.referee.owed.get(address, 0)

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
