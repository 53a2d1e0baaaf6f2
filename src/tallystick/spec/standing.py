"""What everybody sees of a game: where it stands, and what has been revealed in it."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.spec.board import Phase
from tallystick.spec.moves import Move, RevealChildren, RevealChunk, RevealInterval, RevealTensor, RevealTrace
from tallystick.spec.referee import PostedClaim, PostedGame


@dataclass(frozen=True, slots=True)
class Reveal:
    """The bytes that the defender revealed in a phase: items, children one after the other, or a chunk."""

    phase: Phase
    data: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """A game with its claim and everything that has been revealed in it, in order."""

    claim: PostedClaim
    dispute: PostedGame
    reveals: tuple[Reveal, ...]

    @property
    def revealed(self) -> bytes:
        """What the defender's last move revealed."""
        return self.reveals[-1].data if self.reveals else b""


def revealed_by(move: Move) -> bytes:
    """The bytes that a move of the defender shows to the other side."""
    match move:
        case RevealInterval():
            return move.items
        case RevealTrace() | RevealChildren() | RevealTensor():
            return b"".join(move.children)
        case RevealChunk():
            return move.chunk
        case _:
            raise AssertionError("only the defender reveals")
