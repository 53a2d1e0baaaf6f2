"""Binary Merkle trees of SHA-256 digests.

    leaf   sha256(0x00 + bytes)
    node   sha256(0x01 + left + right)

The leaves are padded to the next power of two with ``EMPTY``, 32 zero bytes. The root of one leaf is the leaf; the root
of none is ``EMPTY``. A root does not say how many leaves it has: whoever checks an opening knows the count from
elsewhere (a tensor's dimensions, a program's header) and so knows the length of the path.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

LEAF = b"\x00"
NODE = b"\x01"
EMPTY = bytes(32)


def leaf(data: bytes | bytearray | memoryview) -> bytes:
    """The digest of a leaf's bytes."""
    return sha256(LEAF + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The digest of an inner node."""
    return sha256(NODE + left + right).digest()


def depth(count: int) -> int:
    """Levels between the leaves and the root of a tree of ``count`` leaves: the length of every path."""
    return (count - 1).bit_length() if count else 0


def merkle_root(digests: Sequence[bytes]) -> bytes:
    """The root of a tree whose leaves already are digests."""
    level, padding = list(digests), EMPTY
    if not level:
        return EMPTY
    for _ in range(depth(len(level))):
        level, padding = next_level(level, padding)
    return level[0]


def path(digests: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings from leaf ``index`` up to the root, nearest first."""
    assert 0 <= index < len(digests), "only leaves that exist can be opened"
    siblings: list[bytes] = []
    level, padding = list(digests), EMPTY
    for _ in range(depth(len(level))):
        sibling = index ^ 1
        siblings.append(level[sibling] if sibling < len(level) else padding)
        level, padding = next_level(level, padding)
        index //= 2
    return siblings


def next_level(level: list[bytes], padding: bytes) -> tuple[list[bytes], bytes]:
    """The parents of one level. Everything right of the level is ``padding``, so it is hashed once, not built."""
    if len(level) % 2:
        level = [*level, padding]
    parents = [node(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return parents, node(padding, padding)


def root_of_path(digest: bytes, index: int, siblings: Sequence[bytes]) -> bytes:
    """The root that a leaf and its siblings lead to."""
    for sibling in siblings:
        digest = node(sibling, digest) if index & 1 else node(digest, sibling)
        index //= 2
    return digest


def verify(root: bytes, count: int, index: int, digest: bytes, siblings: Sequence[bytes]) -> bool:
    """Whether ``digest`` is leaf ``index`` of the tree of ``count`` leaves with this root."""
    if not 0 <= index < count or len(siblings) != depth(count):
        return False
    if len(digest) != 32 or any(len(sibling) != 32 for sibling in siblings):
        return False
    return root_of_path(digest, index, siblings) == root
