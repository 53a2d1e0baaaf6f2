"""The embedded chain does what a chain does, and gives the same blocks every time."""

from __future__ import annotations

import pytest

from chain_behaviour import PROBE, ChainBehaviour
from tallystick.chain.connection import Chain
from tallystick.chain.node import RawReceipt
from tallystick.chain.signers import NodeSigner
from tallystick.errors import UsageError


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain.embedded(accounts=2)


class TestEmbeddedChain(ChainBehaviour):
    def test_it_has_no_clock_but_its_own(self) -> None:
        first, second = Chain.embedded(), Chain.embedded()
        for chain in (first, second):
            chain.advance_time(50)
            chain.deploy(PROBE, 1, sender=chain.signers[0])
        assert first.now() == second.now() == 1_700_000_000 + 1 + 50 + 1 + 1

    def test_the_same_transactions_make_the_same_blocks(self) -> None:
        receipts = []
        for _ in range(2):
            chain = Chain.embedded()
            probe = chain.deploy(PROBE, 1, sender=chain.signers[0])
            receipts.append(probe.transact("store", 2, sender=chain.signers[1]))
        assert receipts[0] == receipts[1]

    def test_it_signs_for_nobody(self, chain: Chain) -> None:
        with pytest.raises(UsageError, match="sign with a KeySigner"):
            chain.deploy(PROBE, 1, sender=NodeSigner(chain.signers[0].address))

    def test_events_of_other_contracts_are_not_taken_for_ones_own(self, chain: Chain) -> None:
        probe, other = (chain.deploy(PROBE, 1, sender=chain.signers[0]) for _ in range(2))
        other.transact("put", 3, "", {"name": "", "points": []}, b"", sender=chain.signers[0])
        block = chain.block_number()
        raw = RawReceipt("0x", block, 0, 0, tuple(chain.node.logs(other.address, block, block)), None)
        assert [event.name for event in other.receipt(raw).events] == ["Put", "Other"]
        assert probe.receipt(raw).events == ()
        assert probe.events(None, block) == []
