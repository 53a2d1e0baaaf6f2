"""An arena whose every move is made in the definition and in the contract, which have to agree."""

from __future__ import annotations

from copy import deepcopy

from evm.referee_twins import Twins
from tallystick.spec.board import REVEALS, Claim, Phase
from tallystick.spec.moves import Move
from tallystick.spec.referee import Terms
from tallystick.spec.standing import Reveal, Standing, revealed_by


class TwinArena:
    """Satisfies ``disputes.stage.PublicArena``. Gas is what the contract takes."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.twins = Twins(terms, accounts=2)
        self.worker, self.challenger = self.twins.accounts
        self._reveals: dict[int, tuple[Reveal, ...]] = {}

    def now(self) -> int:
        return self.twins.now

    def wait(self, seconds: int) -> None:
        self.twins.wait(seconds)

    def owed(self, address: str) -> int:
        return self.twins.contract.view("owed", address)

    def post_claim(self, sender: str, claim: Claim) -> int:
        return self.twins.post_claim(sender, claim)

    def challenge(self, sender: str, claim: int) -> int:
        return self.twins.challenge(sender, claim)

    def standing(self, game: int) -> Standing:
        """As the contract tells it."""
        dispute = self.twins.contract.game(game)
        claim = self.twins.contract.claim(dispute.claim)
        return deepcopy(Standing(claim, dispute, self._reveals.get(game, ())))

    def move(self, sender: str, game: int, move: Move) -> int:
        games = self.twins.spec.games
        phase = games[game].game.phase if game < len(games) else Phase.OVER
        self.twins.move(sender, game, move)
        if phase in REVEALS:
            self._reveals[game] = (*self._reveals.get(game, ()), Reveal(phase, revealed_by(move)))
        return self.twins.contract.gas

    def timeout(self, sender: str, game: int) -> int:
        self.twins.timeout(sender, game)
        return self.twins.contract.gas
