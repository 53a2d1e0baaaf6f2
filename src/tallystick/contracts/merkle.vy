# pragma version ~=0.4.3
"""
@title Binary Merkle trees of SHA-256 digests
@license Apache-2.0
@notice
    A mirror of `tallystick/spec/merkle.py`:

        leaf   sha256(0x00 + bytes)
        node   sha256(0x01 + left + right)

    Whoever checks an opening knows from elsewhere how many leaves the tree has, and so how long the path must be.
"""

import bits

LEAF: constant(bytes1) = 0x00
NODE: constant(bytes1) = 0x01

LONGEST_LEAF: constant(uint256) = 4100  # bytes: the number of a kernel's first value and the longest kernel
DEEPEST: constant(uint256) = 40  # levels: no tensor has more than 2**32 chunks, no program more than 2**20 values
CHILDREN: constant(uint256) = 64


@internal
@view
def leaf(data: Bytes[LONGEST_LEAF]) -> bytes32:
    """
    @notice The digest of a leaf's bytes.
    """
    return sha256(concat(LEAF, data))


@internal
@view
def node(left: bytes32, right: bytes32) -> bytes32:
    """
    @notice The digest of an inner node.
    """
    return sha256(concat(NODE, left, right))


@internal
@pure
def depth(count: uint256) -> uint256:
    """
    @notice Levels between the leaves and the root of a tree of that many leaves: the length of every path.
    """
    return 0 if count <= 1 else bits.bit_length(unsafe_sub(count, 1))


@internal
@view
def merkle_root(digests: DynArray[bytes32, CHILDREN]) -> bytes32:
    """
    @notice The root of a tree whose leaves already are digests, as many as a power of two.
    """
    level: DynArray[bytes32, CHILDREN] = digests
    count: uint256 = len(digests)
    assert count != 0 and count & unsafe_sub(count, 1) == 0, "not a power of two"
    for _: uint256 in range(7):
        if count == 1:
            break
        count >>= 1
        for i: uint256 in range(count, bound=CHILDREN):
            level[i] = sha256(concat(NODE, level[unsafe_add(i, i)], level[unsafe_add(unsafe_add(i, i), 1)]))
    return level[0]


@internal
@view
def root_of_path(leaf_digest: bytes32, leaf_index: uint256, siblings: DynArray[bytes32, DEEPEST]) -> bytes32:
    """
    @notice The root that a leaf and its siblings lead to.
    """
    digest: bytes32 = leaf_digest
    index: uint256 = leaf_index
    for sibling: bytes32 in siblings:
        if index & 1 == 1:
            digest = sha256(concat(NODE, sibling, digest))
        else:
            digest = sha256(concat(NODE, digest, sibling))
        index >>= 1
    return digest
