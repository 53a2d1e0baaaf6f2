"""Merkle trees on chain against their definition."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("pyrevm")

from evm.contracts import Deployed, Reverted
from tallystick.spec import merkle

DIGEST_AND_GAS = ("bytes32", "uint256")
RNG = random.Random(4)


@pytest.fixture(scope="module")
def contract() -> Deployed:
    return Deployed("Trees")


def digests(count: int) -> list[bytes]:
    return [RNG.randbytes(32) for _ in range(count)]


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 1023, 1024, 4100])
def test_leaf(contract: Deployed, length: int) -> None:
    data = RNG.randbytes(length)
    assert contract.call("leaf(bytes)", [data], DIGEST_AND_GAS)[0] == merkle.leaf(data)


def test_leaf_too_long(contract: Deployed) -> None:
    with pytest.raises(Reverted):
        contract.call("leaf(bytes)", [bytes(4101)], DIGEST_AND_GAS)


def test_node(contract: Deployed) -> None:
    left, right = digests(2)
    digest, gas = contract.call("node(bytes32,bytes32)", [left, right], DIGEST_AND_GAS)
    assert digest == merkle.node(left, right) != merkle.node(right, left)
    assert gas <= 500


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 255, 256, 257, (1 << 20) - 1, 1 << 32, (1 << 32) + 1])
def test_depth(contract: Deployed, count: int) -> None:
    assert contract.call("depth(uint256)", [count], ["uint256"]) == (merkle.depth(count),)


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16, 32, 64])
def test_merkle_root(contract: Deployed, count: int) -> None:
    leaves = digests(count)
    root, gas = contract.call("merkle_root(bytes32[])", [leaves], DIGEST_AND_GAS)
    assert root == merkle.merkle_root(leaves)
    assert gas <= 400 + 700 * count


@pytest.mark.parametrize("count", [0, 3, 5, 63])
def test_merkle_root_of_part_of_a_tree(contract: Deployed, count: int) -> None:
    with pytest.raises(Reverted, match="not a power of two"):
        contract.call("merkle_root(bytes32[])", [digests(count)], DIGEST_AND_GAS)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 13])
def test_root_of_path(contract: Deployed, count: int) -> None:
    leaves = digests(count)
    for index, digest in enumerate(leaves):
        siblings = merkle.path(leaves, index)
        got = contract.call("root_of_path(bytes32,uint256,bytes32[])", [digest, index, siblings], DIGEST_AND_GAS)[0]
        assert got == merkle.merkle_root(leaves)


def test_root_of_the_longest_path(contract: Deployed) -> None:
    leaf, *siblings = digests(41)
    index = RNG.getrandbits(40)
    got, gas = contract.call("root_of_path(bytes32,uint256,bytes32[])", [leaf, index, siblings], DIGEST_AND_GAS)
    assert got == merkle.root_of_path(leaf, index, siblings)
    assert gas <= 400 + 500 * 40
