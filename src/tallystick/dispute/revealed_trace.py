"""The defender's trace tree, as far as it has been revealed: enough to prove every value before the disputed one."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.commitment import MerkleTree
from tallystick.dispute.scrutiny import check_children
from tallystick.errors import CannotAnswer
from tallystick.spec.board import Phase
from tallystick.spec.game import levels
from tallystick.spec.merkle import depth, path, root_of_path
from tallystick.spec.standing import Standing


class RevealedTrace:
    """What a descent to the disputed value has shown of the trace tree.

    The tree right of that value is the defender's alone; nobody else can know it. But whatever lies left of it is
    agreed, and the path from the disputed value to the root was revealed on the way down.
    """

    def __init__(self, value: int, digest: bytes, siblings: Sequence[bytes]) -> None:
        self._value = value
        self._digest = digest
        self._siblings = list(siblings)

    @classmethod
    def of(cls, standing: Standing, fanout: int) -> RevealedTrace:
        """From what was revealed in a game that has come down to a value. Raises: CannotAnswer if some is missing."""
        game = standing.dispute.game
        height, siblings, digest = depth(game.values), list[bytes](), game.trace_root
        for revealed in trace_rounds(standing):
            children = check_children(revealed, digest, height, fanout)
            down = levels(height, fanout)
            height -= down
            child = (game.value >> height) & ((1 << down) - 1)
            digest = children[child]
            siblings[:0] = path(children, child)
        if height:
            raise CannotAnswer("the arena does not show what was revealed on the way to this value")
        return cls(game.value, digest, siblings)

    def path_of(self, value: int, own: MerkleTree) -> list[bytes]:
        """The path of an earlier value to the defender's root; ``own`` is the player's tree."""
        if value >= self._value:
            raise CannotAnswer("only values before the disputed one can be proved")
        parting = (value ^ self._value).bit_length() - 1  # the height at which the two paths are neighbours
        below = list(own.path(value, 0, parting))
        neighbour = root_of_path(self._digest, self._value & ((1 << parting) - 1), self._siblings[:parting])
        return [*below, neighbour, *self._siblings[parting + 1 :]]


def trace_rounds(standing: Standing) -> list[bytes]:
    """The children that were revealed on the way down the trace tree, round by round."""
    rounds: list[bytes] = []
    for reveal in standing.reveals:
        if reveal.phase is Phase.REVEAL_TENSOR:
            break
        if reveal.phase in (Phase.REVEAL_TRACE, Phase.REVEAL_CHILDREN) and reveal.data:
            rounds.append(reveal.data)
    return rounds
