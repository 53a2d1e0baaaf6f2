"""The test token keeps the rules of ERC-20."""

from __future__ import annotations

import pytest

from tallystick.chain.compiler import compile_contract
from tallystick.chain.connection import Chain
from tallystick.chain.token import Token
from tallystick.errors import ContractReverted

MOST = 2**256 - 1
NOBODY = "0x" + "00" * 20


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain.embedded(accounts=3)


@pytest.fixture
def token(chain: Chain) -> Token:
    return Token(chain.deploy(compile_contract("TestToken"), sender=chain.signers[0]))


def test_anyone_mints_for_anyone(chain: Chain, token: Token) -> None:
    a, b, _ = chain.signers
    receipt = token.mint(b.address, 5, sender=a)
    assert dict(receipt.event("Transfer").values) == {"sender": NOBODY, "receiver": b.address, "value": 5}
    assert (token.balance_of(a.address), token.balance_of(b.address), token.total_supply()) == (0, 5, 5)


def test_the_supply_does_not_overflow(chain: Chain, token: Token) -> None:
    a, b, _ = chain.signers
    token.mint(a.address, MOST, sender=a)
    with pytest.raises(ContractReverted, match="supply overflow"):
        token.mint(b.address, 1, sender=a)
    token.transfer(a.address, MOST, sender=a)
    assert token.balance_of(a.address) == token.total_supply() == MOST


def test_only_what_is_there_is_transferred(chain: Chain, token: Token) -> None:
    a, b, _ = chain.signers
    token.mint(a.address, 5, sender=a)
    receipt = token.transfer(b.address, 3, sender=a)
    assert dict(receipt.event("Transfer").values) == {"sender": a.address, "receiver": b.address, "value": 3}
    with pytest.raises(ContractReverted, match="insufficient balance"):
        token.transfer(b.address, 3, sender=a)
    assert (token.balance_of(a.address), token.balance_of(b.address), token.total_supply()) == (2, 3, 5)


def test_only_what_is_allowed_is_taken(chain: Chain, token: Token) -> None:
    a, b, c = chain.signers
    token.mint(a.address, 10, sender=a)
    with pytest.raises(ContractReverted, match="insufficient allowance"):
        token.transfer_from(a.address, c.address, 1, sender=b)
    receipt = token.approve(b.address, 4, sender=a)
    assert dict(receipt.event("Approval").values) == {"owner": a.address, "spender": b.address, "value": 4}
    token.transfer_from(a.address, c.address, 3, sender=b)
    with pytest.raises(ContractReverted, match="insufficient allowance"):
        token.transfer_from(a.address, c.address, 2, sender=b)
    with pytest.raises(ContractReverted, match="insufficient allowance"):
        token.transfer_from(a.address, c.address, 1, sender=c)
    assert (token.balance_of(a.address), token.balance_of(c.address), token.allowance(a.address, b.address)) == (
        7,
        3,
        1,
    )


def test_the_largest_allowance_lasts_but_moves_no_more_than_there_is(chain: Chain, token: Token) -> None:
    a, b, c = chain.signers
    token.mint(a.address, 5, sender=a)
    token.approve(b.address, MOST, sender=a)
    token.transfer_from(a.address, c.address, 3, sender=b)
    with pytest.raises(ContractReverted, match="insufficient balance"):
        token.transfer_from(a.address, c.address, 3, sender=b)
    assert token.allowance(a.address, b.address) == MOST
