"""What the referee contract's client has to do on every chain. Every step is made by the specification, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from job_helpers import tiny_job
from tallystick.chain.connection import Chain
from tallystick.chain.deployment import Deployment
from tallystick.chain.referee import RefereeClient, deploy_referee
from tallystick.dispute import LocalArena
from tallystick.errors import IllegalMove, UsageError
from tallystick.job.simulation import simulate
from tallystick.job.stretch import whole_job
from tallystick.spec.board import Claim, Phase, Side
from tallystick.spec.moves import (
    Execute,
    Move,
    PointChild,
    PointGather,
    PointInterval,
    RevealChildren,
    RevealInterval,
)
from tallystick.spec.referee import Status, Terms
from tallystick.spec.standing import Standing

TERMS = Terms(
    fanout=4, move_s=600, total_s=3_000, window_s=7_200, defender_bond=1_000, challenger_bond=100, winner_share=5_000
)
CLAIM = Claim(b"\1" * 32, b"\2" * 32, b"\3" * 32, b"\4" * 32, first_step=7, steps=100)
ROOTS = b"\5" * 96
TOKENS = 1_000_000


class Mirror(RefereeClient):
    """A referee on a chain, and beside it the specification's, which is told everything that the contract accepts, at
    the same time. What can be read of one has to be what can be read of the other.
    """

    def __init__(self, chain: Chain) -> None:
        deployer, worker, challenger = chain.signers[:3]
        self.deployment = deploy_referee(chain, TERMS, deployer)
        super().__init__(chain, self.deployment.contract(chain, "Referee"), self.deployment.first_block)
        self.worker, self.challenger = worker.address, challenger.address
        for signer in (worker, challenger):
            self.token.mint(signer.address, TOKENS, sender=deployer)
        self.spec = LocalArena(TERMS)

    def post_claim(self, sender: str, claim: Claim) -> int:
        number = self.also(lambda: self.spec.post_claim(sender, claim), super().post_claim, sender, claim)
        assert number == len(self.spec.referee.claims) - 1
        return number

    def challenge(self, sender: str, claim: int) -> int:
        number = self.also(lambda: self.spec.challenge(sender, claim), super().challenge, sender, claim)
        assert number == len(self.spec.referee.games) - 1
        return number

    def move(self, sender: str, game: int, move: Move) -> int:
        gas = self.also(lambda: self.spec.move(sender, game, move), super().move, sender, game, move)
        self.standing(game)
        return gas

    def timeout(self, sender: str, game: int) -> int:
        return self.also(lambda: self.spec.timeout(sender, game), super().timeout, sender, game)

    def refund(self, sender: str, game: int) -> int:
        return self.also(lambda: self.spec.referee.refund(game), super().refund, sender, game)

    def release(self, sender: str, claim: int) -> int:
        return self.also(lambda: self.spec.referee.release(self.spec.now(), claim), super().release, sender, claim)

    def withdraw(self, sender: str) -> int:
        owed = self.spec.owed(sender)
        amount = self.also(lambda: self.spec.referee.withdraw(sender), super().withdraw, sender)
        assert amount == owed
        return amount

    def standing(self, game: int) -> Standing:
        found = super().standing(game)
        assert found == self.spec.standing(game)
        assert self.owed(self.worker) == self.spec.owed(self.worker)
        assert self.owed(self.challenger) == self.spec.owed(self.challenger)
        return found

    def wait(self, seconds: int) -> None:
        self.chain.advance_time(seconds)

    def also(self, define: Callable[[], object], act: Callable[..., int], *arguments: Any) -> int:
        """Do something on the chain, and at the time of its block by the specification."""
        try:
            done = act(*arguments)
        except IllegalMove as refused:
            self.spec.wait(self.now() - self.spec.now())
            with pytest.raises(IllegalMove) as caught:
                define()
            assert caught.value.reason == refused.reason
            raise
        self.spec.wait(self.spent[-1].timestamp - self.spec.now())
        define()
        return done


class RefereeBehaviour:
    """Needs a fixture `chain` with three signers, of any scope."""

    faults = ("weight-ulp",)

    @pytest.fixture
    def referee(self, chain: Chain) -> Mirror:
        return Mirror(chain)

    @pytest.fixture
    def game(self, referee: Mirror) -> int:
        """A game in which the defender has to reveal state roots."""
        return referee.challenge(referee.challenger, referee.post_claim(referee.worker, CLAIM))

    def test_whole_games_go_as_the_specification_says(self, referee: Mirror) -> None:
        for fault in self.faults:
            for role in ("worker", "challenger"):
                simulated = simulate(whole_job(tiny_job()), referee, fault=fault, role=role)
                assert simulated.liar_lost
                assert simulated.played.gas == sum(
                    spent.gas for spent in referee.spent if spent.game == len(referee.spec.referee.games) - 1
                )

    def test_terms_are_read_back(self, referee: Mirror) -> None:
        assert referee.terms == TERMS

    def test_bonds_are_approved_and_taken(self, referee: Mirror, game: int) -> None:
        assert referee.token.balance_of(referee.worker) == TOKENS - TERMS.defender_bond
        assert referee.token.balance_of(referee.challenger) == TOKENS - TERMS.challenger_bond
        assert referee.token.balance_of(referee.address) == TERMS.defender_bond + TERMS.challenger_bond
        assert referee.token.allowance(referee.worker, referee.address) == 0
        assert [spent.what for spent in referee.spent] == ["approve", "post_claim", "approve", "challenge"]

    def test_who_has_not_enough_is_told_the_tokens_reason(self, chain: Chain, referee: Mirror) -> None:
        poor = RefereeClient(chain, referee.contract)
        with pytest.raises(IllegalMove, match="insufficient balance"):
            poor.post_claim(chain.signers[0].address, CLAIM)

    def test_refusals_are_the_specifications(self, referee: Mirror, game: int) -> None:
        worker, challenger = referee.worker, referee.challenger
        for sender, move, reason in (
            (challenger, RevealInterval(ROOTS), "not your turn"),
            (worker, RevealInterval(ROOTS[1:]), "wrong length"),
            (worker, PointGather(), "wrong phase"),
            (worker, RevealChildren((b"\1" * 32,)), "wrong phase"),
            (worker, PointChild(0, b"\0" * 32, ()), "wrong phase"),
        ):
            with pytest.raises(IllegalMove) as caught:
                referee.move(sender, game, move)
            assert caught.value.reason == reason
        with pytest.raises(IllegalMove, match="no such game"):
            referee.move(worker, game + 1, RevealInterval(ROOTS))
        with pytest.raises(IllegalMove, match="no such claim"):
            referee.challenge(challenger, 1)
        assert referee.standing(game).dispute.game.phase is Phase.REVEAL_INTERVAL

    @pytest.mark.parametrize(
        "move",
        [
            RevealInterval(b"\1" * 20_000),
            RevealChildren((b"short",)),
            RevealChildren((b"\1" * 32,) * 1_000),
            PointInterval(-1, ROOTS),
            PointInterval(2**256, ROOTS),
            Execute(0, b"", (2**32,), b""),
        ],
    )
    def test_moves_that_no_contract_takes_are_refused(self, referee: Mirror, game: int, move: Move) -> None:
        with pytest.raises(IllegalMove, match="not of the move's types"):
            RefereeClient.move(referee, referee.worker, game, move)
        assert referee.standing(game).dispute.game.phase is Phase.REVEAL_INTERVAL

    def test_reveals_are_read_back_by_everybody(self, chain: Chain, referee: Mirror, game: int) -> None:
        referee.move(referee.worker, game, RevealInterval(ROOTS))
        referee.move(referee.challenger, game, PointInterval(2, ROOTS))
        referee.move(referee.worker, game, RevealInterval(b"\6" * 96))
        other = RefereeClient.of(chain, referee.deployment)
        assert other.standing(game) == referee.standing(game)
        assert [reveal.data for reveal in other.standing(game).reveals] == [ROOTS, b"\6" * 96]
        assert other.reveals(game + 1) == ()

    def test_silence_loses_and_nothing_else_does(self, referee: Mirror, game: int) -> None:
        with pytest.raises(IllegalMove, match="not too late yet"):
            referee.timeout(referee.challenger, game)
        referee.wait(TERMS.move_s + 1)
        with pytest.raises(IllegalMove, match="too late"):
            referee.move(referee.worker, game, RevealInterval(ROOTS))
        referee.timeout(referee.challenger, game)
        assert referee.standing(game).dispute.game.winner is Side.CHALLENGER
        assert referee.standing(game).claim.status is Status.CONVICTED
        with pytest.raises(IllegalMove, match="game is over"):
            referee.timeout(referee.challenger, game)
        assert referee.gas(game) == referee.spent[-1].gas

    def test_bonds_of_a_conviction_are_paid_out(self, referee: Mirror, game: int) -> None:
        second = referee.challenge(referee.challenger, 0)
        with pytest.raises(IllegalMove, match="claim is not decided"):
            referee.refund(referee.challenger, second)
        referee.wait(TERMS.move_s + 1)
        referee.timeout(referee.challenger, game)
        referee.refund(referee.challenger, second)
        share = TERMS.defender_bond * TERMS.winner_share // 10_000
        assert referee.withdraw(referee.challenger) == 2 * TERMS.challenger_bond + share
        assert referee.token.balance_of(referee.challenger) == TOKENS + share
        for nobody in (referee.challenger, referee.worker):
            with pytest.raises(IllegalMove, match="nothing owed"):
                referee.withdraw(nobody)

    def test_a_claim_that_nobody_disputes_is_released(self, referee: Mirror) -> None:
        claim = referee.post_claim(referee.worker, replace(CLAIM, steps=1))
        with pytest.raises(IllegalMove, match="window is open"):
            referee.release(referee.worker, claim)
        referee.wait(TERMS.window_s + 1)
        referee.release(referee.challenger, claim)
        assert referee.claim(claim).status is Status.RELEASED
        assert referee.withdraw(referee.worker) == TERMS.defender_bond

    def test_only_those_with_keys_here_can_act(self, referee: Mirror) -> None:
        with pytest.raises(UsageError, match="no key of 0x1111"):
            RefereeClient.post_claim(referee, "0x" + "11" * 20, CLAIM)

    def test_a_deployment_leads_back_to_the_referee(self, chain: Chain, referee: Mirror, tmp_path) -> None:
        path = tmp_path / "deployment.json"
        referee.deployment.save(path)
        again = RefereeClient.of(chain, Deployment.load(path))
        assert (again.address, again.terms, again.token.address) == (referee.address, TERMS, referee.token.address)
