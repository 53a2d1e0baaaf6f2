"""Where a dispute is played: the door between players and whatever keeps the games."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tallystick.spec.board import Phase
from tallystick.spec.moves import Move
from tallystick.spec.referee import PostedClaim, PostedGame, Terms


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


class Arena(Protocol):
    """Keeps claims and games and applies moves to them: the referee itself, or a chain with its contract."""

    terms: Terms

    def now(self) -> int:
        """The referee's time, in seconds."""
        ...

    def standing(self, game: int) -> Standing:
        """Where a game stands."""
        ...

    def move(self, sender: str, game: int, move: Move) -> int:
        """Make a move; returns the gas it took. Raises: IllegalMove."""
        ...

    def timeout(self, sender: str, game: int) -> int:
        """End a game whose side to move let its time run out; returns gas. Raises: IllegalMove."""
        ...
