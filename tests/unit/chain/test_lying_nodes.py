"""A node that gives answers no referee would give: its client says so, and does not fall over them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tallystick.chain.connection import Chain
from tallystick.chain.contract import Contract
from tallystick.chain.referee import RefereeClient, deploy_referee
from tallystick.errors import ChainError
from tallystick.spec.board import Claim
from tallystick.spec.moves import RevealInterval
from tallystick.spec.referee import Terms

WORD = 32  # bytes
NOTHING = (99).to_bytes(WORD, "big")  # no phase, no status, no side
ROOT = bytes(32)


class LyingNode:
    """Answers as another node does, but for one word of what functions return, or of what was logged."""

    def __init__(self, node: Any, word: int, value: bytes) -> None:
        self._node = node
        self.word = word
        self.value = value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def changed(self, data: bytes) -> bytes:
        return data[: self.word * WORD] + self.value + data[(self.word + 1) * WORD :]

    def call(self, *question: Any) -> bytes:
        return self.changed(self._node.call(*question))

    def logs(self, *question: Any) -> list[Any]:
        return [replace(log, data=self.changed(log.data)) for log in self._node.logs(*question)]


@pytest.fixture(scope="module")
def referee() -> RefereeClient:
    chain = Chain.embedded(accounts=1)
    client = RefereeClient.of(chain, deploy_referee(chain, Terms(defender_bond=0, challenger_bond=0), chain.signers[0]))
    account = chain.signers[0].address
    client.post_claim(account, Claim(ROOT, ROOT, ROOT, ROOT, 0, 3))
    client.challenge(account, 0)
    client.move(account, 0, RevealInterval(bytes(2 * 32)))
    return client


@pytest.mark.parametrize("what", ["claim", "game", "reveals"])
def test_numbers_that_mean_nothing(referee: RefereeClient, what: str) -> None:
    refused = 0
    for word in range(33):
        contract = referee.contract
        fresh = RefereeClient(referee.chain, Contract(contract.node, contract.interface, contract.address))
        fresh.contract.node = LyingNode(contract.node, word, NOTHING)
        try:
            getattr(fresh, what)(0)
        except ChainError:
            refused += 1
            fresh.contract.node = contract.node
            assert getattr(fresh, what)(0) == getattr(referee, what)(0), "asked again it has the truth"
    assert refused
