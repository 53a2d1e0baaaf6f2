"""Whole Merkle trees, for whoever has to show nodes and paths of them again and again."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.commitment.hasher import Hasher
from tallystick.commitment.tensors import DIGEST, climb
from tallystick.spec.merkle import EMPTY, depth, node


class MerkleTree:
    """All levels of the tree that ``spec.merkle`` defines over some leaves.

    A node is named by its height above the leaves and its number at that height; nodes over padding alone are there
    too. Keeps 64 bytes for each leaf.
    """

    def __init__(self, leaves: Sequence[bytes] | bytes, hasher: Hasher) -> None:
        level = leaves if isinstance(leaves, bytes) else b"".join(leaves)
        self.count = len(level) // DIGEST
        self.height = depth(self.count)
        self._levels = [level]
        self._padding = [EMPTY]
        for _ in range(self.height):
            self._levels.append(climb(hasher, self._levels[-1], 1, self._padding[-1]))
            self._padding.append(node(self._padding[-1], self._padding[-1]))

    @property
    def root(self) -> bytes:
        """The root; ``EMPTY`` over no leaves."""
        return self.node(self.height, 0)

    def node(self, height: int, number: int) -> bytes:
        """The digest of a node."""
        assert 0 <= height <= self.height and 0 <= number < 1 << (self.height - height), "no such node in this tree"
        found = self._levels[height][number * DIGEST : (number + 1) * DIGEST]
        return found or self._padding[height]

    def children(self, height: int, number: int, down: int) -> tuple[bytes, ...]:
        """The descendants ``down`` levels below a node, in order."""
        return tuple(self.node(height - down, (number << down) + child) for child in range(1 << down))

    def path(self, number: int, height: int = 0, up: int | None = None) -> tuple[bytes, ...]:
        """The siblings on the way from a node up to the root, or ``up`` levels up; nearest first."""
        top = self.height if up is None else height + up
        return tuple(self.node(level, (number >> (level - height)) ^ 1) for level in range(height, top))
