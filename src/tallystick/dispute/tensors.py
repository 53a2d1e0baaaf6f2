"""Values as a player of a dispute needs them: their bits, their chunks, their trees."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from tallystick.commitment import Hasher, MerkleTree, bits_of
from tallystick.spec.digests import CHUNK, tensor_digest_of_root
from tallystick.spec.kernels import Kernel
from tallystick.spec.merkle import LEAF
from tallystick.spec.tensors import TensorType, widen
from tallystick.spec.views import locate


class CommittedTensor:
    """A tensor with the tree over its chunks.

    ``data`` are its dense bytes. For an honest player they fit the type; what a liar commits to need not.
    """

    def __init__(self, type: TensorType, data: bytes | memoryview, hasher: Hasher) -> None:
        self.type = type
        self._data = memoryview(data).cast("B")
        self._hasher = hasher

    @classmethod
    def of(cls, type: TensorType, array: np.ndarray, hasher: Hasher) -> CommittedTensor:
        """An array of this type."""
        return cls(type, bits_of(type, array).data, hasher)

    @cached_property
    def tree(self) -> MerkleTree:
        """Over the leaves of the chunks."""
        return MerkleTree(self._hasher.digests(LEAF, self._data, CHUNK), self._hasher)

    @cached_property
    def digest(self) -> bytes:
        """The tensor digest."""
        return tensor_digest_of_root(self.type, self.tree.root)

    def chunk(self, index: int) -> bytes:
        """The bytes of a chunk."""
        return bytes(self._data[index * CHUNK : (index + 1) * CHUNK])

    def bits(self, element: int) -> int:
        """The bits of an element."""
        size = self.type.dtype.size
        return int.from_bytes(self._data[element * size : (element + 1) * size], "little")


class ArrayWords:
    """Words out of arrays, for scalar steps: ``spec.scalar_steps.Words``.

    Notes in ``addresses`` where each open slot read last: an element, or None outside the value.
    """

    def __init__(self, kernel: Kernel, types: Sequence[TensorType], values: Sequence[np.ndarray]) -> None:
        self._kernel = kernel
        needed = {view.value for view in kernel.loads}
        if kernel.scatter is not None and kernel.scatter.base is not None:
            needed.add(kernel.scatter.base)
        self._types = types
        self._bits = {value: bits_of(types[value], values[value]) for value in needed}
        self.addresses: dict[int, int | None] = {}

    def load(self, slot: int, indices: tuple[int, ...], registers: list[int]) -> int:
        view = self._kernel.loads[slot]
        bits = self._bits[view.value]
        at = locate(view.address, indices, registers, len(bits))
        self.addresses[slot] = at
        return view.fill if at is None else widen(self._types[view.value].dtype, int(bits[at]))

    def base(self, element: int) -> int:
        assert self._kernel.scatter is not None and self._kernel.scatter.base is not None
        value = self._kernel.scatter.base
        return widen(self._types[value].dtype, int(self._bits[value][element]))
