"""Where a dispute is played: the door between players and whatever keeps the games."""

from __future__ import annotations

from typing import Protocol

from tallystick.spec.moves import Move
from tallystick.spec.referee import Terms
from tallystick.spec.standing import Standing


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
