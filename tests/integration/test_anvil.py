"""The same behaviour on a real node, over JSON-RPC."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anvil_process import KEYS, anvil
from chain_behaviour import PROBE, ChainBehaviour
from tallystick.chain.connection import Chain
from tallystick.chain.json_rpc import JsonRpcNode
from tallystick.chain.signers import KeySigner, NodeSigner
from tallystick.errors import ChainError


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with anvil(tmp_path_factory.mktemp("anvil")) as address:
        yield address


class TestKeysOnAnvil(ChainBehaviour):
    """Transactions are signed here."""

    @pytest.fixture
    def chain(self, url: str) -> Chain:
        chain = Chain.connect(url, KEYS)
        assert all(isinstance(signer, KeySigner) for signer in chain.signers[:2])
        return chain


class TestAccountsOfAnvil(ChainBehaviour):
    """Transactions are signed by the node."""

    @pytest.fixture
    def chain(self, url: str) -> Chain:
        chain = Chain.connect(url)
        assert all(isinstance(signer, NodeSigner) for signer in chain.signers)
        return chain


@pytest.mark.parametrize("keys", [KEYS, ()], ids=["signed here", "signed by the node"])
def test_a_transaction_that_no_block_takes_is_given_up_and_named(tmp_path: Path, keys: tuple[bytes, ...]) -> None:
    with anvil(tmp_path) as url:
        node = JsonRpcNode(url, transaction_timeout_s=0.2)
        chain = Chain(node, map(KeySigner, keys))
        probe = chain.deploy(PROBE, 1, sender=chain.signers[0])
        node.request("evm_setAutomine", [False])
        with pytest.raises(ChainError, match=r"within 0\.2 s\. It may still") as caught:
            probe.transact("store", 77, sender=chain.signers[0])
        assert caught.value.transaction is not None
        assert probe.call("stored") == 1
        chain.advance_time(1)
        assert probe.call("stored") == 77
        assert probe.call_arguments("store", caught.value.transaction) == {"number": 77}


def test_a_node_that_went_away_is_reported(tmp_path: Path) -> None:
    with anvil(tmp_path) as url:
        chain = Chain.connect(url, KEYS)
        probe = chain.deploy(PROBE, 1, sender=chain.signers[0])
    for use in (chain.now, chain.block_number, lambda: probe.call("stored"), lambda: chain.advance_time(1)):
        with pytest.raises(ChainError):
            use()
    with pytest.raises(ChainError, match="is the node running"):
        probe.transact("store", 1, sender=chain.signers[0])


def test_an_account_without_ether_is_told_so(url: str) -> None:
    chain = Chain.connect(url, [b"\5" * 32])
    with pytest.raises(ChainError, match=r"refuses: .*[Ii]nsufficient"):
        chain.deploy(PROBE, 1, sender=chain.signers[0], gas=2_000_000)
