"""The referee's terms, and what tokens can do to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("pyrevm")

from pyrevm import EVM

from evm.contracts import GAS, reason_of
from evm.referee_contract import DEPLOYER, FUNDS, OnChain, RefereeContract
from evm.referee_twins import START, account
from tallystick.chain.bindings import from_fields
from tallystick.errors import IllegalMove
from tallystick.spec.board import Claim
from tallystick.spec.referee import Terms

TERMS = Terms(fanout=2, move_s=60, total_s=600, window_s=300, defender_bond=1000, challenger_bond=100)
CLAIM = Claim(*(bytes([number]) * 32 for number in range(4)), first_step=5, steps=1)
DEFENDER, CHALLENGER = account(0), account(1)
NOWHERE = "0x" + "00" * 20


def referee(token: str = "TestToken", terms: Terms = TERMS) -> RefereeContract:  # noqa: S107 - a contract's name
    contract = RefereeContract(terms, [DEFENDER, CHALLENGER], token)
    contract.at(START)
    return contract


# TERMS


def test_terms_are_kept() -> None:
    terms = Terms()
    assert from_fields(Terms, referee(terms=terms).view("terms")) == terms


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fanout": 0}, "fanout is a power of two, 2 to 64"),
        ({"fanout": 1}, "fanout is a power of two, 2 to 64"),
        ({"fanout": 3}, "fanout is a power of two, 2 to 64"),
        ({"fanout": 128}, "fanout is a power of two, 2 to 64"),
        ({"move_s": 0}, "one move takes no longer than all of them"),
        ({"move_s": 601}, "one move takes no longer than all of them"),
        ({"window_s": 0}, "a window is open for a while"),
        ({"winner_share": 10_001}, "a share is at most the whole"),
        ({"total_s": 1 << 40}, "too long"),
        ({"window_s": 1 << 40}, "too long"),
        ({"defender_bond": 1 << 128}, "too much"),
        ({"challenger_bond": 1 << 128}, "too much"),
    ],
)
def test_impossible_terms(change: dict[str, int], reason: str) -> None:
    values = {name: getattr(TERMS, name) for name in Terms.__dataclass_fields__} | change
    with pytest.raises(RuntimeError) as refused:
        deploy(values)
    assert reason_of(refused.value) == reason


@pytest.mark.parametrize("missing", range(3))
def test_addresses_without_a_contract(missing: int) -> None:
    with pytest.raises(RuntimeError) as refused:
        deploy({name: getattr(TERMS, name) for name in Terms.__dataclass_fields__}, missing)
    assert reason_of(refused.value) == "no contract"


def deploy(terms: dict[str, int], missing: int | None = None) -> OnChain:
    evm = EVM(gas_limit=GAS)
    evm.set_balance(DEPLOYER, 1 << 100)
    others = [OnChain(evm, name).address for name in ("TestToken", "KernelReader", "LeafExecutor")]
    if missing is not None:
        others[missing] = NOWHERE
    return OnChain(evm, "Referee", *others, terms)


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (replace(CLAIM, steps=0), "no steps"),
        (replace(CLAIM, steps=1 << 31), "too many steps"),
        (replace(CLAIM, first_step=(1 << 31) - 1, steps=2), "too many steps"),
        (replace(CLAIM, first_step=(1 << 256) - 1, steps=1), "too many steps"),
        (replace(CLAIM, first_step=1, steps=(1 << 256) - 1), "too many steps"),
    ],
)
def test_impossible_claims(claim: Claim, reason: str) -> None:
    contract = referee()
    with pytest.raises(IllegalMove) as refused:
        contract.post_claim(DEFENDER, claim)
    assert refused.value.reason == reason
    assert contract.view("claim_count") == contract.view("held") == 0


def test_the_last_steps_can_be_claimed() -> None:
    contract = referee()
    assert contract.post_claim(DEFENDER, replace(CLAIM, first_step=0, steps=1 << 31)) == 0
    assert contract.post_claim(DEFENDER, replace(CLAIM, first_step=(1 << 31) - 1)) == 1


# TOKENS


def play_out(contract: RefereeContract) -> None:
    """A challenge that times out against the defender, and what is paid then."""
    contract.post_claim(DEFENDER, CLAIM)
    contract.challenge(CHALLENGER, 0)
    contract.at(START + 61)
    contract.transact(CHALLENGER, "timeout", 0)
    assert contract.transact(CHALLENGER, "withdraw") == 600
    assert contract.balance(CHALLENGER) == FUNDS + 500
    assert contract.balance(DEFENDER) == FUNDS - 1000
    assert contract.balance(contract.referee.address) == contract.view("burned") == 500


@pytest.mark.parametrize("token", ["TestToken", "SilentToken", "HostileToken"])
def test_bonds_move(token: str) -> None:
    play_out(referee(token))


def test_who_has_no_tokens_posts_no_bond() -> None:
    contract = referee()
    with pytest.raises(IllegalMove, match="insufficient allowance"):
        contract.post_claim(account(7), CLAIM)
    contract.post_claim(DEFENDER, CLAIM)
    with pytest.raises(IllegalMove, match="insufficient allowance"):
        contract.challenge(account(7), 0)
    assert (contract.view("claim_count"), contract.view("game_count"), contract.view("held")) == (1, 0, 1000)


@pytest.mark.parametrize(("fee", "fails"), [(1, False), (0, True)])
def test_a_token_that_does_not_pay_in_full(fee: int, fails: bool) -> None:
    contract = referee("HostileToken")
    contract.post_claim(DEFENDER, CLAIM)
    contract.token.call(DEFENDER, "behave", fee, fails, NOWHERE, b"")
    with pytest.raises(IllegalMove, match="transfer failed"):
        contract.post_claim(DEFENDER, CLAIM)
    with pytest.raises(IllegalMove, match="transfer failed"):
        contract.challenge(CHALLENGER, 0)
    assert (contract.view("claim_count"), contract.view("game_count"), contract.view("held")) == (1, 0, 1000)


def test_what_could_not_be_paid_stays_owed() -> None:
    contract = referee("HostileToken")
    contract.post_claim(DEFENDER, CLAIM)
    contract.at(START + 301)
    contract.transact(CHALLENGER, "release", 0)
    contract.token.call(DEFENDER, "behave", 0, True, NOWHERE, b"")
    with pytest.raises(IllegalMove, match="transfer failed"):
        contract.transact(DEFENDER, "withdraw")
    assert contract.view("owed", DEFENDER) == 1000
    contract.token.call(DEFENDER, "behave", 0, False, NOWHERE, b"")
    assert contract.transact(DEFENDER, "withdraw") == 1000
    with pytest.raises(IllegalMove, match="nothing owed"):
        contract.transact(DEFENDER, "withdraw")


CALLS_BACK: list[tuple[str, list[Any]]] = [
    ("withdraw", []),
    ("post_claim", [CLAIM]),
    ("challenge", [0]),
    ("timeout", [0]),
    ("release", [0]),
    ("refund", [0]),
    ("point_gather", [0]),
    ("held", []),
    ("posted_game", [0]),
]


@pytest.mark.parametrize(("function", "arguments"), CALLS_BACK)
def test_nothing_is_answered_while_the_token_is_called(function: str, arguments: list[Any]) -> None:
    contract = referee("HostileToken")
    contract.post_claim(DEFENDER, CLAIM)
    contract.challenge(CHALLENGER, 0)
    contract.at(START + 61)
    contract.transact(CHALLENGER, "timeout", 0)
    data = contract.referee.data(function, *arguments)
    contract.token.call(DEFENDER, "behave", 0, False, contract.referee.address, data)
    assert contract.transact(CHALLENGER, "withdraw") == 600
    assert contract.token.call(DEFENDER, "called_back") is False
    assert contract.view("owed", CHALLENGER) == 0
    assert contract.balance(contract.referee.address) == contract.view("burned") == 500
