"""Paths into the defender's trace, out of what he revealed on the way down to the disputed value."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from disputes.stage import quick_terms
from tallystick.commitment import HashlibHasher, MerkleTree
from tallystick.dispute.revealed_trace import RevealedTrace
from tallystick.errors import CannotAnswer
from tallystick.spec.board import Claim, Game, Phase, Side
from tallystick.spec.game import levels
from tallystick.spec.merkle import EMPTY, depth, root_of_path
from tallystick.spec.referee import PostedClaim, PostedGame
from tallystick.spec.standing import Reveal, Standing

HASHER = HashlibHasher()


def two_trees(count: int, value: int, seed: int = 0) -> tuple[MerkleTree, MerkleTree]:
    """The defender's and the challenger's: equal left of the value, different from it on."""
    rng = random.Random(seed)
    shared = [rng.randbytes(32) for _ in range(value)]
    own, theirs = ([*shared, *(rng.randbytes(32) for _ in range(count - value))] for _ in range(2))
    return MerkleTree(theirs, HASHER), MerkleTree(own, HASHER)


def descent(tree: MerkleTree, value: int, fanout: int) -> Standing:
    """A game that has come down to a value of the defender's tree, and gone on into the value's own tree."""
    reveals, height = [], tree.height
    while height:
        down = levels(height, fanout)
        children = tree.children(height, value >> height, down)
        reveals.append(Reveal(Phase.REVEAL_CHILDREN if reveals else Phase.REVEAL_TRACE, b"".join(children)))
        height -= down
    if not reveals:
        reveals.append(Reveal(Phase.REVEAL_TRACE, b""))
    reveals.append(Reveal(Phase.REVEAL_TENSOR, b"\1" * 64))
    reveals.append(Reveal(Phase.REVEAL_CHILDREN, b"\2" * 64))
    reveals.append(Reveal(Phase.REVEAL_CHUNK, b"\3" * 40))
    game = Game(phase=Phase.EXECUTE, values=tree.count, trace_root=tree.root, value=value)
    terms = quick_terms(fanout)
    left = {Side.DEFENDER: terms.total_s, Side.CHALLENGER: terms.total_s}
    roots = (EMPTY, EMPTY, EMPTY, EMPTY)
    return Standing(PostedClaim(Claim(*roots, 0, 1), "d", 0), PostedGame(0, "c", game, 0, left), tuple(reveals))


@pytest.mark.parametrize("fanout", [2, 4, 32])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 33, 70])
def test_every_earlier_value_is_proved_in_the_other_tree(count: int, fanout: int) -> None:
    for value in range(count):
        theirs, own = two_trees(count, value)
        revealed = RevealedTrace.of(descent(theirs, value, fanout), fanout)
        for earlier in range(value):
            siblings = revealed.path_of(earlier, own)
            assert len(siblings) == depth(count)
            assert root_of_path(own.node(0, earlier), earlier, siblings) == theirs.root
        for later in (value, value + 1):
            with pytest.raises(CannotAnswer, match="before the disputed one"):
                revealed.path_of(later, own)


def test_a_descent_that_is_not_shown_in_full() -> None:
    theirs, own = two_trees(13, 9)
    standing = descent(theirs, 9, 4)
    RevealedTrace.of(standing, 4).path_of(3, own)
    for reveals in (standing.reveals[1:], standing.reveals[:1], (), tuple(reversed(standing.reveals))):
        with pytest.raises(CannotAnswer):
            RevealedTrace.of(replace(standing, reveals=reveals), 4)


def test_a_descent_with_other_bytes() -> None:
    theirs, _ = two_trees(13, 9)
    standing = descent(theirs, 9, 4)
    for number in (0, 1):
        data = standing.reveals[number].data
        for other in (data[:-1], data + b"\0", data[32:] + data[:32], b"", data[:32]):
            reveals = list(standing.reveals)
            reveals[number] = replace(reveals[number], data=other)
            with pytest.raises(CannotAnswer):
                RevealedTrace.of(replace(standing, reveals=tuple(reveals)), 4)
