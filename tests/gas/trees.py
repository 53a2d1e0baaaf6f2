"""Merkle trees and tensors of any size of which only a few leaves matter: real ones, all other leaves being equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tallystick.spec.digests import CHUNK, chunk_count, tensor_digest_of_root
from tallystick.spec.kernels import Kernel
from tallystick.spec.merkle import EMPTY, depth, leaf, node
from tallystick.spec.tensors import TensorType, widen
from tallystick.spec.views import locate


class SparseTree:
    """The tree over ``count`` leaves that all are ``rest``, but for those that are ``known`` by their numbers."""

    def __init__(self, count: int, rest: bytes, known: Mapping[int, bytes]) -> None:
        assert all(0 <= number < count for number in known)
        self.count = count
        self.height = depth(count)
        self._rest, self._padding = [rest], [EMPTY]
        self._known = [dict(known)]
        for height in range(self.height):
            self._rest.append(node(self._rest[-1], self._rest[-1]))
            self._padding.append(node(self._padding[-1], self._padding[-1]))
            parents = {number >> 1 for number in self._known[-1]}
            self._known.append({parent: self._above(height, parent) for parent in parents})

    def _above(self, height: int, parent: int) -> bytes:
        return node(self.node(height, 2 * parent), self.node(height, 2 * parent + 1))

    @property
    def root(self) -> bytes:
        return self.node(self.height, 0)

    def node(self, height: int, number: int) -> bytes:
        """The digest of a node, named by its height above the leaves and its number there."""
        known = self._known[height].get(number) if height < len(self._known) else None
        if known is not None:
            return known
        if number << height >= self.count:
            return self._padding[height]
        if (number + 1) << height <= self.count:
            return self._rest[height]
        return self._above(height - 1, number)

    def children(self, height: int, number: int, down: int) -> tuple[bytes, ...]:
        """The descendants ``down`` levels below a node, in order."""
        return tuple(self.node(height - down, (number << down) + child) for child in range(1 << down))

    def path(self, number: int) -> tuple[bytes, ...]:
        """The siblings from a leaf up to the root."""
        return tuple(self.node(height, (number >> height) ^ 1) for height in range(self.height))


@dataclass(frozen=True)
class SparseTensor:
    """A tensor whose chunks are zeros, but for some."""

    type: TensorType
    chunks: Mapping[int, bytes] = field(default_factory=dict)

    @cached_property
    def tree(self) -> SparseTree:
        count = chunk_count(self.type.nbytes)
        known = {number: leaf(chunk) for number, chunk in self.chunks.items()}
        known.setdefault(count - 1, leaf(self.chunk(count - 1)))  # it may be short
        return SparseTree(count, leaf(bytes(CHUNK)), known)

    @cached_property
    def digest(self) -> bytes:
        return tensor_digest_of_root(self.type, self.tree.root)

    def chunk(self, number: int) -> bytes:
        length = min(CHUNK, self.type.nbytes - number * CHUNK)
        return self.chunks.get(number, bytes(length))

    def word(self, element: int) -> int:
        """What an element loads as."""
        number, at = divmod(element * self.type.dtype.size, CHUNK)
        bits = int.from_bytes(self.chunk(number)[at : at + self.type.dtype.size], "little")
        return widen(self.type.dtype, bits)


def with_elements(type: TensorType, elements: Mapping[int, int], dirt: bytes = b"") -> SparseTensor:
    """A tensor with the bits of some elements; the rest of their chunks is ``dirt`` over and over, or zeros."""
    chunks: dict[int, bytearray] = {}
    size = type.dtype.size
    for element, bits in elements.items():
        number, at = divmod(element * size, CHUNK)
        length = min(CHUNK, type.nbytes - number * CHUNK)
        dirty = (dirt * length)[:length] if dirt else bytes(length)
        chunk = chunks.setdefault(number, bytearray(dirty))
        chunk[at : at + size] = bits.to_bytes(size, "little")
    return SparseTensor(type, {number: bytes(chunk) for number, chunk in chunks.items()})


class SparseWords:
    """Words out of sparse tensors, with a note of where each slot reads: ``spec.scalar_steps.Words``."""

    def __init__(self, kernel: Kernel, tensors: Mapping[int, SparseTensor]) -> None:
        self.kernel = kernel
        self.tensors = tensors
        self.addresses: dict[int, int | None] = {}

    def load(self, slot: int, indices: tuple[int, ...], registers: list[int]) -> int:
        view = self.kernel.loads[slot]
        tensor = self.tensors[view.value]
        at = locate(view.address, indices, registers, tensor.type.elements)
        self.addresses[slot] = at
        return view.fill if at is None else tensor.word(at)

    def base(self, element: int) -> int:
        assert self.kernel.scatter is not None and self.kernel.scatter.base is not None
        return self.tensors[self.kernel.scatter.base].word(element)
