"""Moves that no honest player makes, against the definition of the game."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest

from tallystick.errors import IllegalMove
from tallystick.spec.board import Claim, Game, Phase
from tallystick.spec.digests import program_header
from tallystick.spec.game import open_game, play
from tallystick.spec.merkle import EMPTY, leaf, merkle_root, path
from tallystick.spec.moves import Move, PointChild, PointGather, ProveSlot, RevealChildren, RevealTrace
from toy.programs import TOYS

FANOUT = 4
PROGRAM = TOYS["chain"].case.program
HEADER = program_header(PROGRAM)
VALUES = [leaf(bytes([number])) for number in range(HEADER.values)]
ROOT = merkle_root(VALUES)
CLAIM = Claim(HEADER.root, EMPTY, leaf(b"before"), leaf(b"after"), 0, 1)


def shifted(left: bytes, right: bytes) -> tuple[bytes, bytes]:
    """Two strings that read the same one after the other, neither of them a digest."""
    return left + right[:1], right[1:]


def nodes(level: list[bytes], down: int) -> list[bytes]:
    """The children that one move shows, of a tree over these leaves."""
    level = [*level, *[EMPTY] * ((1 << (len(level) - 1).bit_length()) - len(level))]
    width = len(level) >> down
    return [merkle_root(level[at : at + width]) for at in range(0, len(level), width)]


def after(*moves: Move) -> Game:
    game = open_game(CLAIM)
    for move in moves:
        play(game, CLAIM, FANOUT, move)
    return game


def refused(game: Game, move: Move) -> None:
    before = deepcopy(game)
    with pytest.raises(IllegalMove):
        play(game, CLAIM, FANOUT, move)
    assert game == before


TOP = nodes(VALUES, 2)
TRACE = RevealTrace(HEADER, ROOT, tuple(TOP))


def test_children_are_digests() -> None:
    refused(after(), replace(TRACE, children=(*shifted(*TOP[:2]), *TOP[2:])))
    below = nodes(VALUES[:4], 2)
    game = after(TRACE, PointChild(0, TOP[0], tuple(path(TOP, 0))))
    assert game.phase is Phase.REVEAL_CHILDREN
    refused(game, RevealChildren((*shifted(*below[:2]), *below[2:])))
    play(game, CLAIM, FANOUT, RevealChildren(tuple(below)))


def test_a_child_pointed_at_is_a_digest() -> None:
    """Else a challenger could point at bytes that the defender cannot reveal anything below."""
    way = path(TOP, 2)
    digest, sibling = shifted(TOP[2], way[0])
    refused(after(TRACE), PointChild(2, digest, (sibling, *way[1:])))
    assert after(TRACE, PointChild(2, TOP[2], tuple(way))).node == TOP[2]


def test_numbers_are_words() -> None:
    """A number that no field can hold is refused like any other wrong one."""
    game = after(TRACE, PointGather())
    assert game.phase is Phase.PROVE_SLOT
    for number in (-1, 1 << 32):
        refused(game, ProveSlot(HEADER, b"", number, (), EMPTY, ()))
