"""Tensor digests from bytes that pass by once, in pieces of any size."""

from __future__ import annotations

from tallystick.commitment.hasher import Hasher
from tallystick.spec.digests import CHUNK, tensor_digest_of_root
from tallystick.spec.merkle import EMPTY, LEAF, NODE, node
from tallystick.spec.tensors import TensorType

DIGEST = 32  # bytes
BLOCK_LEVELS = 10
BLOCK = CHUNK << BLOCK_LEVELS  # bytes: a full subtree of leaves is reduced to its root as soon as it is complete


def empty_root(levels: int) -> bytes:
    """The root of a full subtree that holds nothing, ``levels`` above the leaves."""
    digest = EMPTY
    for _ in range(levels):
        digest = node(digest, digest)
    return digest


def climb(hasher: Hasher, level: bytes, levels: int, padding: bytes) -> bytes:
    """The digests ``levels`` above those of ``level``; ``padding`` stands for every digest right of it.

    Shapes: 32 * n bytes -> 32 * ceil(n / 2**levels) bytes.
    """
    for _ in range(levels):
        if len(level) % (2 * DIGEST):
            level += padding
        level = hasher.digests(NODE, level, 2 * DIGEST)
        padding = node(padding, padding)
    return level


def tree_root(hasher: Hasher, digests: bytes, padding: bytes = EMPTY) -> bytes:
    """The Merkle root over digests that lie one after the other, ``spec.merkle.merkle_root`` for ``EMPTY``."""
    if not digests:
        return EMPTY
    return climb(hasher, digests, (len(digests) // DIGEST - 1).bit_length(), padding)


class TensorHasher:
    """Makes the digest of one tensor from its dense little-endian bytes; keeps at most one block of them.

    ``update`` as often as there are bytes, then ``digest`` once.
    """

    def __init__(self, type: TensorType, hasher: Hasher) -> None:
        self.type = type
        self._hasher = hasher
        self._waiting = bytearray()  # less than a block
        self._blocks = bytearray()  # roots of full blocks
        self._seen = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(data).cast("B")
        self._seen += len(view)
        if self._waiting:
            missing = BLOCK - len(self._waiting)
            self._waiting += view[:missing]
            view = view[missing:]
            if len(self._waiting) == BLOCK:
                self._take_block(memoryview(self._waiting))
                self._waiting = bytearray()
        while len(view) >= BLOCK:
            self._take_block(view[:BLOCK])
            view = view[BLOCK:]
        self._waiting += view

    def digest(self) -> bytes:
        """The tensor's digest. All its bytes must have passed."""
        assert self._seen == self.type.nbytes, "a tensor's bytes must fit its type"
        return tensor_digest_of_root(self.type, self._root())

    def _take_block(self, block: memoryview) -> None:
        self._blocks += climb(self._hasher, self._leaves(block), BLOCK_LEVELS, EMPTY)

    def _leaves(self, data: bytearray | memoryview) -> bytes:
        return self._hasher.digests(LEAF, data, CHUNK)

    def _root(self) -> bytes:
        if not self._blocks:
            return tree_root(self._hasher, self._leaves(self._waiting))
        blocks = bytes(self._blocks)
        if self._waiting:
            blocks += climb(self._hasher, self._leaves(self._waiting), BLOCK_LEVELS, EMPTY)
        return tree_root(self._hasher, blocks, empty_root(BLOCK_LEVELS))
