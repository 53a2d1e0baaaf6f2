"""Digests of arrays and states, as ``spec.digests`` defines them, for data of any size."""

from tallystick.commitment.arrays import NUMPY_DTYPES, array_digest, bits_of, check_array, dense_pieces
from tallystick.commitment.hasher import Hasher, HashlibHasher
from tallystick.commitment.states import StateHasher
from tallystick.commitment.tensors import TensorHasher, tree_root
from tallystick.commitment.trees import MerkleTree

__all__ = [
    "NUMPY_DTYPES",
    "Hasher",
    "HashlibHasher",
    "MerkleTree",
    "StateHasher",
    "TensorHasher",
    "array_digest",
    "bits_of",
    "check_array",
    "dense_pieces",
    "tree_root",
]
