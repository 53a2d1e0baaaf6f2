"""The referee's definition and its contract side by side: whatever is done is done to both, and both must agree."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from eth_utils.address import to_checksum_address

from evm.referee_contract import FUNDS, RefereeContract
from tallystick.errors import IllegalMove
from tallystick.spec.board import REVEALS, Claim, Phase, Side
from tallystick.spec.moves import Move
from tallystick.spec.referee import Referee, Terms
from tallystick.spec.standing import revealed_by

START = 1_700_000_000  # seconds since 1970


def account(number: int) -> str:
    return to_checksum_address(f"0x{number + 0xACC0:040x}")


class Twins:
    """After every action accepted or refused, claims, games, bonds and tokens of both are compared field by field."""

    def __init__(self, terms: Terms, accounts: int = 6) -> None:
        self.accounts = [account(number) for number in range(accounts)]
        self.spec = Referee(terms)
        self.contract = RefereeContract(terms, self.accounts)
        self.now = START
        self.withdrawn = dict.fromkeys(self.accounts, 0)
        self.posted = dict.fromkeys(self.accounts, 0)

    # ACTIONS

    def wait(self, seconds: int) -> None:
        self.now += seconds

    def post_claim(self, sender: str, claim: Claim) -> int:
        number = self.both(
            lambda: self.spec.post_claim(sender, self.now, claim), lambda: self.contract.post_claim(sender, claim)
        )
        self.posted[sender] += self.spec.terms.defender_bond
        self.compare()
        return number

    def challenge(self, sender: str, number: int) -> int:
        game = self.both(
            lambda: self.spec.challenge(sender, self.now, number), lambda: self.contract.challenge(sender, number)
        )
        self.posted[sender] += self.spec.terms.challenger_bond
        self.compare()
        return game

    def move(self, sender: str, number: int, move: Move) -> None:
        phase = self.spec.games[number].game.phase if number < len(self.spec.games) else Phase.OVER
        self.both(
            lambda: self.spec.move(sender, self.now, number, move),
            lambda: self.contract.move(sender, number, move),
        )
        self.compare()
        self.check_events(number, phase, move)

    def timeout(self, sender: str, number: int) -> None:
        self.both(
            lambda: self.spec.timeout(self.now, number), lambda: self.contract.transact(sender, "timeout", number)
        )
        self.compare()

    def refund(self, sender: str, number: int) -> None:
        self.both(lambda: self.spec.refund(number), lambda: self.contract.transact(sender, "refund", number))
        self.compare()

    def release(self, sender: str, number: int) -> None:
        self.both(
            lambda: self.spec.release(self.now, number), lambda: self.contract.transact(sender, "release", number)
        )
        self.compare()

    def withdraw(self, sender: str) -> int:
        amount = self.both(lambda: self.spec.withdraw(sender), lambda: self.contract.transact(sender, "withdraw"))
        self.withdrawn[sender] += amount
        self.compare()
        return amount

    def both(self, defined: Callable[[], Any], deployed: Callable[[], Any]) -> Any:
        """Do it twice. Raises: IllegalMove if both refuse, for the same reason."""
        self.contract.at(self.now)
        before = deepcopy(self.spec)
        expected, reason = outcome(defined)
        found, given = outcome(deployed)
        assert given == reason, f"the definition says {reason!r}, the contract {given!r}"
        if reason is not None:
            assert self.spec == before, "a refused move changed the definition's state"
            self.compare()
            raise IllegalMove(reason)
        assert found == expected
        return expected

    # COMPARISONS

    def compare(self) -> None:
        """Everything that can be seen."""
        spec, contract = self.spec, self.contract
        assert contract.view("claim_count") == len(spec.claims)
        assert contract.view("game_count") == len(spec.games)
        for number, claim in enumerate(spec.claims):
            assert contract.claim(number) == claim
        for number, game in enumerate(spec.games):
            assert contract.game(number) == game
            if not game.closed:
                assert contract.view("deadline", number) == game.deadline(spec.terms)
        self.compare_money()

    def compare_money(self) -> None:
        """Tokens in are tokens out, held, owed or burned, at every moment."""
        spec, contract = self.spec, self.contract
        assert contract.view("held") == spec.held
        assert contract.view("burned") == spec.burned
        owed = {each: contract.view("owed", each) for each in self.accounts}
        assert owed == {each: spec.owed.get(each, 0) for each in self.accounts}
        assert contract.balance(contract.referee.address) == spec.held + spec.burned + sum(owed.values())
        for each in self.accounts:
            assert contract.balance(each) == FUNDS - self.posted[each] + self.withdrawn[each]

    def check_events(self, number: int, phase: Phase, move: Move) -> None:
        """What clients read of a move is in its events."""
        events = self.contract.events()
        game = self.spec.games[number].game
        assert events["Moved"] == {"game": number, "phase": game.phase, "turn": game.turn}
        assert ("Revealed" in events) == (phase in REVEALS)
        if phase in REVEALS:
            assert (events["Revealed"]["game"], events["Revealed"]["phase"]) == (number, phase)
            assert events["Revealed"]["data"].endswith(revealed_by(move))
        if game.winner is not Side.NOBODY:
            assert events["Decided"] == {"game": number, "winner": game.winner}


def outcome(action: Callable[[], Any]) -> tuple[Any, str | None]:
    """What an action gives, or the reason it is refused for."""
    try:
        return action(), None
    except IllegalMove as refused:
        return None, refused.reason
