"""The tensor graph between PyTorch's operators and kernels: each node is a tensor, described, not yet placed.

A node says what its elements are, point by point; which nodes become kernels of their own, and which vanish into their
consumers, is decided afterwards (``fusion.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from tallystick.capture.tensors.affine import Affine, Bound, Scalar, row_major, total
from tallystick.capture.tensors.scalars import Read, ScalarGraph
from tallystick.spec.tensors import DType


@dataclass(frozen=True, slots=True)
class Input:
    """A state slot or constant: it has a value number."""

    value: int


@dataclass(frozen=True, slots=True)
class Map:
    """Every element is a scalar expression over the node's axes."""

    scalar: Scalar


@dataclass(frozen=True, slots=True)
class FoldSpec:
    """A reduction of up to four accumulators: the order is part of the meaning.

    ``body`` and ``merge`` are scalar expressions, one per accumulator. Axes of the body are the output axes, then the
    reduce axes. Accumulators in the body are numbered as they are, in the merge the left operand's come first.
    A ``contraction`` has the body ffma(read, read, acc). A ``scan`` yields the accumulators after every step.
    """

    out_extents: tuple[int, ...]
    reduce_extents: tuple[int, ...]
    init: tuple[int, ...]
    lanes: int
    block: int
    body: tuple[Scalar, ...]
    merge: tuple[Scalar, ...]
    contraction: bool = False
    scan: bool = False


@dataclass(frozen=True, slots=True)
class Fold:
    """The final word of one accumulator of a reduction, at every output point."""

    spec: FoldSpec
    accumulator: int


@dataclass(frozen=True, slots=True)
class Scatter:
    """Words placed by address. ``extents`` are the source axes; ``address`` and ``word`` are over them.

    ``base`` is the node the result starts as a copy of, or None for ``fill`` everywhere. ``merge`` is over accumulator
    0, the element, and 1, the word; None overwrites.
    """

    extents: tuple[int, ...]
    address: Affine
    bounds: tuple[Bound, ...]
    word: Scalar
    base: int | None
    fill: int
    merge: Scalar | None


@dataclass(frozen=True, slots=True)
class Flat:
    """Another node's stored elements, in row-major order, as one axis."""

    node: int


Kind = Input | Map | Fold | Scatter | Flat


@dataclass(slots=True, eq=False)
class Node:
    """One tensor. ``extents`` are its loop axes (none is 1); its elements are stored in row-major order of them."""

    number: int
    kind: Kind
    dtype: DType
    extents: tuple[int, ...]
    sources: dict[str, None] = field(default_factory=dict)  # the user's lines, in order

    @property
    def elements(self) -> int:
        return prod(self.extents)


class TensorGraph:
    """All nodes of a lowering. Equal nodes are one."""

    def __init__(self) -> None:
        self.scalars = ScalarGraph()
        self.nodes: list[Node] = []
        self.source = ""  # of the operator being lowered
        self._known: dict[tuple[Kind, DType, tuple[int, ...]], Node] = {}
        self._specs: dict[FoldSpec, FoldSpec] = {}

    def add(self, kind: Kind, dtype: DType, extents: Sequence[int]) -> Node:
        """A node of this kind; the one already there if it is equal."""
        key = (kind, dtype, tuple(extents))
        node = self._known.get(key)
        if node is None:
            node = self._known[key] = self.fresh(kind, dtype, extents)
        if self.source:
            node.sources[self.source] = None
        return node

    def fresh(self, kind: Kind, dtype: DType, extents: Sequence[int]) -> Node:
        """A node of its own, even if an equal one is there."""
        node = Node(len(self.nodes), kind, dtype, tuple(extents))
        self.nodes.append(node)
        if self.source:
            node.sources[self.source] = None
        return node

    def fold(self, spec: FoldSpec, dtypes: Sequence[DType]) -> list[Node]:
        """The nodes of a reduction, one per accumulator; equal reductions share one spec object."""
        spec = self._specs.setdefault(spec, spec)
        extents = spec.out_extents + (spec.reduce_extents if spec.scan else ())
        return [self.add(Fold(spec, k), dtype, extents) for k, dtype in enumerate(dtypes)]

    def flat(self, node: Node) -> Node:
        """The elements of a node as one axis; the node is stored."""
        if isinstance(node.kind, Flat):
            return node
        return self.add(Flat(node.number), node.dtype, (node.elements,))

    def linear(self, node: Node, index: Sequence[Affine], axes: int) -> Affine:
        """The row-major element number at a point of a node."""
        strides = row_major(node.extents)
        return total([form.scaled(stride) for form, stride in zip(index, strides, strict=True)], axes)

    def reads(self, node: Node) -> list[Read]:
        """Every read the node's definition makes, including those in computed indices."""
        found = (self.scalars.read_of(number) for number in self.scalars.closure(node_scalars(self, node)))
        return [read for read in found if read is not None]


def node_scalars(graph: TensorGraph, node: Node) -> list[Scalar]:
    """The scalar expressions that define a node."""
    match node.kind:
        case Map(scalar):
            return [scalar]
        case Fold(spec, _):
            return list(spec.body)
        case Scatter(word=word, address=address):
            return [word, *(scalar for _, scalar in address.computed)]
        case _:
            return []
