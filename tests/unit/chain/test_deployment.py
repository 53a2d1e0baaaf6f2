"""A deployment on disk, and what is not one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tallystick.chain.compiler import compile_contract
from tallystick.chain.connection import Chain
from tallystick.chain.deployment import Deployment
from tallystick.errors import ChainError, UsageError

GOOD = {
    "format": "tallystick deployment 1",
    "chain_id": 1,
    "first_block": 0,
    "addresses": {"TestToken": "0x" + "11" * 20},
}


def test_it_survives_the_disk(tmp_path: Path) -> None:
    deployment = Deployment(31337, 12, {"TestToken": "0x" + "Ab" * 20})
    deployment.save(tmp_path / "deployment.json")
    assert Deployment.load(tmp_path / "deployment.json") == deployment


@pytest.mark.parametrize(
    "change",
    [
        {"format": "tallystick deployment 2"},
        {"chain_id": "1"},
        {"chain_id": True},
        {"chain_id": -1},
        {"first_block": None},
        {"addresses": None},
        {"addresses": ["0x" + "11" * 20]},
        {"addresses": {"TestToken": 5}},
        {"addresses": {"TestToken": "0x" + "11" * 19}},
        {"addresses": {"TestToken": "0x" + "11" * 20 + "\n"}},
    ],
)
def test_what_is_no_deployment_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "deployment.json"
    path.write_text(json.dumps(GOOD))
    Deployment.load(path)
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(UsageError, match=r"deployment\.json"):
        Deployment.load(path)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b"1", b"[" * 90_000])
def test_what_is_no_json_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "deployment.json"
    path.write_bytes(data)
    with pytest.raises(UsageError):
        Deployment.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"deployment\.json cannot be read: No such file"):
        Deployment.load(tmp_path / "deployment.json")


def test_contracts_are_found_on_their_chain_only() -> None:
    chain = Chain.embedded(accounts=1)
    token = chain.deploy(compile_contract("TestToken"), sender=chain.signers[0])
    deployment = Deployment(chain.chain_id, 0, {"TestToken": token.address, "Wrong": token.address})
    assert deployment.contract(chain, "TestToken").call("symbol") == "TTALLY"
    with pytest.raises(UsageError, match="has no Referee; it has TestToken, Wrong"):
        deployment.contract(chain, "Referee")
    elsewhere = Deployment(chain.chain_id + 1, 0, deployment.addresses)
    with pytest.raises(ChainError, match=f"is on chain {chain.chain_id + 1}, and the node is of"):
        elsewhere.contract(chain, "TestToken")
    nothing_there = Deployment(chain.chain_id, 0, {"TestToken": "0x" + "11" * 20})
    with pytest.raises(ChainError, match="no code"):
        nothing_there.contract(chain, "TestToken")
