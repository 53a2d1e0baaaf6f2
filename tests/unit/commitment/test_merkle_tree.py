"""Whole trees against the definition of roots and paths."""

from __future__ import annotations

import pytest

from tallystick.commitment import HashlibHasher, MerkleTree
from tallystick.spec.merkle import EMPTY, depth, leaf, merkle_root, node, path, root_of_path

COUNTS = [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33]


def leaves_of(count: int) -> list[bytes]:
    return [leaf(bytes([number])) for number in range(count)]


def tree_of(count: int) -> MerkleTree:
    return MerkleTree(leaves_of(count), HashlibHasher())


@pytest.mark.parametrize("count", COUNTS)
def test_roots_and_paths(count: int) -> None:
    tree, leaves = tree_of(count), leaves_of(count)
    assert (tree.count, tree.height) == (count, depth(count))
    assert tree.root == merkle_root(leaves)
    for number in range(count):
        assert list(tree.path(number)) == path(leaves, number)


def test_no_leaves() -> None:
    tree = MerkleTree([], HashlibHasher())
    assert (tree.count, tree.height, tree.root) == (0, 0, EMPTY)
    assert tree.path(0) == ()


def test_leaves_in_one_piece() -> None:
    assert MerkleTree(b"".join(leaves_of(5)), HashlibHasher()).root == merkle_root(leaves_of(5))


@pytest.mark.parametrize("count", COUNTS)
def test_children_hash_to_their_node_at_every_level(count: int) -> None:
    tree = tree_of(count)
    for height in range(tree.height + 1):
        for number in range(1 << (tree.height - height)):
            for down in range(height + 1):
                children = tree.children(height, number, down)
                assert len(children) == 1 << down
                assert merkle_root(children) == tree.node(height, number)


@pytest.mark.parametrize("count", COUNTS)
def test_padding_is_there_like_every_other_leaf(count: int) -> None:
    tree = tree_of(count)
    padded = [*leaves_of(count), *[EMPTY] * ((1 << tree.height) - count)]
    assert [tree.node(0, number) for number in range(1 << tree.height)] == padded
    for number, digest in enumerate(padded):
        assert root_of_path(digest, number, tree.path(number)) == tree.root


def test_nodes_over_padding_alone() -> None:
    tree = tree_of(9)
    assert tree.node(0, 15) == EMPTY
    assert tree.node(1, 7) == node(EMPTY, EMPTY)
    assert tree.node(2, 3) == node(node(EMPTY, EMPTY), node(EMPTY, EMPTY))


@pytest.mark.parametrize("count", COUNTS)
def test_paths_of_inner_nodes_and_parts_of_paths(count: int) -> None:
    tree = tree_of(count)
    for height in range(tree.height + 1):
        for number in range(1 << (tree.height - height)):
            for up in range(tree.height - height + 1):
                siblings = tree.path(number, height, up)
                above = tree.node(height + up, number >> up)
                assert root_of_path(tree.node(height, number), number, siblings) == above


def test_nodes_that_do_not_exist() -> None:
    tree = tree_of(5)
    for height, number in ((0, 8), (1, 4), (3, 1), (4, 0), (-1, 0), (0, -1)):
        with pytest.raises(AssertionError):
            tree.node(height, number)
