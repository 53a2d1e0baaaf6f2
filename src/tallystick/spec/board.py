"""Where a dispute stands: phases, sides, and everything the next move depends on. The rules are in ``game``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tallystick.spec.merkle import EMPTY


class Phase(IntEnum):
    """Who has to do what. The numbers are the contract's."""

    REVEAL_INTERVAL = 1
    POINT_INTERVAL = 2
    REVEAL_TRACE = 3
    POINT_TRACE = 4
    REVEAL_CHILDREN = 5
    POINT_CHILD = 6
    PROVE_INPUT = 7
    PROVE_SLOT = 8
    REVEAL_TENSOR = 9
    REVEAL_CHUNK = 10
    POINT_ELEMENT = 11
    EXECUTE = 12
    OVER = 13


class Side(IntEnum):
    """The two sides of a game."""

    NOBODY = 0
    DEFENDER = 1
    CHALLENGER = 2


class Level(IntEnum):
    """What an interval is made of."""

    STEPS = 0
    SCALAR_STEPS = 1


class Tree(IntEnum):
    """Which Merkle tree is descended."""

    TRACE = 0
    STATE = 1
    CHUNKS = 2


REVEALS = frozenset(
    {
        Phase.REVEAL_INTERVAL,
        Phase.REVEAL_TRACE,
        Phase.REVEAL_CHILDREN,
        Phase.REVEAL_TENSOR,
        Phase.REVEAL_CHUNK,
    }
)
PROOFS = frozenset({Phase.PROVE_INPUT, Phase.PROVE_SLOT, Phase.EXECUTE})


@dataclass(frozen=True, slots=True)
class Claim:
    """``steps`` steps of a program, the first with number ``first_step``, lead from the start to the end."""

    program_root: bytes
    constants_root: bytes
    start_root: bytes
    end_root: bytes
    first_step: int
    steps: int


@dataclass(slots=True)
class Game:
    """Where one game stands.

    ``low`` and ``high``  numbers of the agreed and the disputed item of the interval, with their digests beside them
    ``node``              the disputed node, ``height`` levels above its leaves; ``index`` is its number at that height
    ``value``             the disputed value; ``output`` its number among its kernel's
    ``nbytes``, ``size``  of the disputed value: all its bytes, and one element's
    ``scalar_steps``      of an element of it; ``scan`` is the length of its rows in a scan, else 0
    ``element``           the disputed element
    ``revealed``          digest of what the next move has to repeat
    """

    phase: Phase = Phase.REVEAL_INTERVAL
    level: Level = Level.STEPS
    tree: Tree = Tree.TRACE
    low: int = 0
    high: int = 0
    low_digest: bytes = EMPTY
    high_digest: bytes = EMPTY
    revealed: bytes = EMPTY
    states: int = 0
    constants: int = 0
    values: int = 0
    step: int = 0
    trace_root: bytes = EMPTY
    node: bytes = EMPTY
    height: int = 0
    index: int = 0
    value: int = 0
    output: int = 0
    kernel_leaf: bytes = EMPTY
    first_accumulators: bytes = EMPTY
    width: int = 0
    nbytes: int = 0
    size: int = 0
    scalar_steps: int = 0
    scan: int = 0
    element: int = 0
    winner: Side = Side.NOBODY

    @property
    def turn(self) -> Side:
        """The side that loses if nothing happens."""
        if self.phase is Phase.OVER:
            return Side.NOBODY
        return Side.DEFENDER if self.phase in REVEALS else Side.CHALLENGER

    def forfeit(self, winner: Side) -> None:
        """The other side has not moved in time."""
        self.phase, self.winner = Phase.OVER, winner
