"""Merkle trees and their openings, against trees built by hand."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tallystick.spec import merkle


def digests(count: int) -> list[bytes]:
    return [merkle.leaf(bytes([i])) for i in range(count)]


def by_definition(leaves: list[bytes]) -> bytes:
    """Pad to a power of two, then hash pairs until one is left."""
    size = 1
    while size < len(leaves):
        size *= 2
    level = leaves + [bytes(32)] * (size - len(leaves))
    while len(level) > 1:
        level = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level), 2)]
    return level[0]


def test_leaf_is_domain_separated() -> None:
    assert merkle.leaf(b"abc") == sha256(b"\x00abc").digest()


@pytest.mark.parametrize("count", range(1, 20))
def test_root_is_the_padded_tree_s(count: int) -> None:
    assert merkle.merkle_root(digests(count)) == by_definition(digests(count))


def test_root_of_nothing_is_empty_and_of_one_leaf_the_leaf() -> None:
    assert merkle.merkle_root([]) == bytes(32)
    assert merkle.merkle_root(digests(1)) == digests(1)[0]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_every_leaf_opens_and_nothing_else_does(count: int) -> None:
    leaves = digests(count)
    root = merkle.merkle_root(leaves)
    for index, digest in enumerate(leaves):
        siblings = merkle.path(leaves, index)
        assert len(siblings) == merkle.depth(count)
        assert merkle.verify(root, count, index, digest, siblings)
        assert not merkle.verify(root, count, index, merkle.leaf(b"other"), siblings)
        assert not merkle.verify(root, count, index, digest, [*siblings, merkle.EMPTY])
        assert not merkle.verify(root, count, count, digest, siblings)
        assert not merkle.verify(root, count, -1, digest, siblings)
        if siblings:
            assert not merkle.verify(root, count, index ^ 1, digest, siblings)
            assert not merkle.verify(root, count, index, digest, siblings[1:])
            for level in range(len(siblings)):
                wrong = [*siblings[:level], merkle.leaf(b"wrong"), *siblings[level + 1 :]]
                assert not merkle.verify(root, count, index, digest, wrong)


def test_an_inner_node_is_no_leaf() -> None:
    leaves = digests(4)
    inner = merkle.node(leaves[0], leaves[1])
    root = merkle.merkle_root(leaves)
    assert merkle.root_of_path(inner, 0, [merkle.node(leaves[2], leaves[3])]) == root
    assert not merkle.verify(root, 4, 0, inner, [merkle.node(leaves[2], leaves[3])])


def test_siblings_of_other_lengths_are_refused() -> None:
    leaves = digests(2)
    joined = leaves[0] + leaves[1]
    assert not merkle.verify(merkle.merkle_root(leaves), 2, 0, joined[:31], [joined[31:]])
