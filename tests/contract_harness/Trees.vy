# pragma version ~=0.4.3
"""
@title The Merkle trees of the contracts
@notice Every function also returns the gas it took.
"""

import merkle


@external
@view
def leaf(data: Bytes[4100]) -> (bytes32, uint256):
    before: uint256 = msg.gas
    digest: bytes32 = merkle.leaf(data)
    return digest, before - msg.gas


@external
@view
def node(left: bytes32, right: bytes32) -> (bytes32, uint256):
    before: uint256 = msg.gas
    digest: bytes32 = merkle.node(left, right)
    return digest, before - msg.gas


@external
@view
def depth(count: uint256) -> uint256:
    return merkle.depth(count)


@external
@view
def merkle_root(digests: DynArray[bytes32, 64]) -> (bytes32, uint256):
    before: uint256 = msg.gas
    digest: bytes32 = merkle.merkle_root(digests)
    return digest, before - msg.gas


@external
@view
def root_of_path(digest: bytes32, index: uint256, siblings: DynArray[bytes32, 40]) -> (bytes32, uint256):
    before: uint256 = msg.gas
    root: bytes32 = merkle.root_of_path(digest, index, siblings)
    return root, before - msg.gas
