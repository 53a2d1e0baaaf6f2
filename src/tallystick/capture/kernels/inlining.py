"""Expressions written out over the axes of one loop nest: what is not loaded is computed where it is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from tallystick.capture.tensors.affine import Affine, Bound, Scalar, axis, constant, row_major
from tallystick.capture.tensors.axes import Axes, split_axes
from tallystick.capture.tensors.graph import Flat, Map, Node, TensorGraph
from tallystick.capture.tensors.scalars import Read, ScalarGraph
from tallystick.spec import limits
from tallystick.spec.instructions import Instruction, Op

DEPTH = 100  # nodes inside one another, far below the depth of Python's stack


class NotFusable(Exception):
    """The nodes cannot be one kernel; the attempt is dropped."""


@dataclass(slots=True)
class Inliner:
    """Writes out expressions over the axes of one loop nest.

    ``inlined`` are nodes that are written out wherever they are read. ``members`` are written out where they are read
    at the nest's own point. ``accumulators`` give the scalar of a fold's result at that point. ``met`` are all nodes of
    which it counted whether they are inlined, even if nothing of them is left.
    """

    graph: TensorGraph
    extents: Axes
    inlined: Collection[int]
    members: Collection[int] = ()
    accumulators: Mapping[int, Scalar] = field(default_factory=dict)
    nodes: set[int] = field(default_factory=set)
    loads: set[int] = field(default_factory=set)
    met: set[int] = field(default_factory=set)
    depth: int = 0  # of nodes written out inside one another
    _known: dict[Read, Scalar] = field(default_factory=dict)
    _scalars: dict[Scalar, Scalar] = field(default_factory=dict)

    def node(self, node: Node, forms: Sequence[Affine]) -> Scalar:
        """The element of a map node at a point."""
        assert isinstance(node.kind, Map), "only maps are written out"
        if self.depth == DEPTH:
            raise NotFusable("too many nodes inside one another")
        self.nodes.add(node.number)
        self.depth += 1
        scalar = self.written(self.graph.scalars.move(node.kind.scalar, forms, len(self.extents)))
        self.depth -= 1
        return scalar

    def written(self, scalar: Scalar) -> Scalar:
        """An expression over the nest's axes with its reads resolved."""
        scalars = self.graph.scalars
        for number in scalars.reachable([scalar]):
            if number in self._scalars:
                continue
            instruction = scalars.instructions[number]
            if instruction.op is Op.LOAD:
                read = scalars.read_of(number)
                assert read is not None, "a load leaf is a read"
                self._scalars[number] = self.read(read)
            else:
                self._scalars[number] = self._rebuilt(number, instruction)
        return self._scalars[scalar]

    def _rebuilt(self, number: Scalar, instruction: Instruction) -> Scalar:
        args = tuple(self._scalars[arg] for arg in instruction.args)
        if args == instruction.args:
            return number
        return self.graph.scalars.emit(instruction.op, *args, imm=instruction.imm)

    def read(self, read: Read) -> Scalar:
        """A read at a point of the nest: what it stands for, or a load."""
        if read not in self._known:
            self._known[read] = self._resolve(self._plain(read))
        return self._known[read]

    def _plain(self, read: Read) -> Read:
        """The read with its computed indices written out and bounds dropped that are open everywhere."""
        index = tuple(self._plain_form(form) for form in read.index)
        bounds = []
        for bound in read.bounds:
            bound = Bound(self._plain_form(bound.form), bound.limit)
            if not bound.form.computed:
                low, high = bound.form.bounds(self.extents)
                if low >= 0 and high < bound.limit:
                    continue
            if bound not in bounds:
                bounds.append(bound)
        return read._replace(index=index, bounds=tuple(bounds))

    def _plain_form(self, form: Affine) -> Affine:
        if not form.computed:
            return form
        axes = len(self.extents)
        result = form._replace(computed=())
        for stride, scalar in form.computed:
            result = result.plus(self.graph.scalars.as_affine(self.written(scalar), axes).scaled(stride))
        return result

    def _resolve(self, read: Read) -> Scalar:
        scalars = self.graph.scalars
        if any(self._is_closed(bound) for bound in read.bounds):
            return scalars.word(read.fill)
        node = self.graph.nodes[read.node]
        target = self.graph.nodes[node.kind.node] if isinstance(node.kind, Flat) else node
        if target.number in self.members or target.number in self.accumulators:
            if self._is_own_point(node, read):
                if target.number in self.accumulators:
                    self.nodes.add(target.number)
                    return self.accumulators[target.number]
                return self.node(target, split_forms(target.extents, self.extents))
            self.met.add(target.number)
            if target.number not in self.inlined:
                raise NotFusable("a member is read at another point")
        self.met.add(node.number)
        if node.number in self.inlined:
            return self._inlined(node, read)
        self.loads.add(target.number)
        return scalars.read(self._with_few_terms(read, target))

    def _with_few_terms(self, read: Read, target: Node) -> Read:
        """The read with the computed terms of its address added up first, if there are more than a view can have."""
        if len({scalar for form in read.index for _, scalar in form.computed}) <= limits.COMPUTED:
            return read
        if target.elements >= 1 << 31:
            raise NotFusable("an address is computed beyond 32 bits")
        axes = len(self.extents)
        address = self.graph.linear(self.graph.nodes[read.node], read.index, axes)
        scalars = self.graph.scalars
        term = scalars.affine(Affine(0, (0,) * axes, address.computed))
        address = address._replace(computed=((1, term),))
        return read._replace(node=self.graph.flat(target).number, index=(address,))

    def _is_closed(self, bound: Bound) -> bool:
        if bound.form.computed:
            return False
        low, high = bound.form.bounds(self.extents)
        return high < 0 or low >= bound.limit

    def _is_own_point(self, node: Node, read: Read) -> bool:
        """Whether a read is of the element that has the nest's own point, counted in row-major order."""
        if read.bounds or node.elements != prod(self.extents) or any(form.computed for form in read.index):
            return False
        linear = self.graph.linear(node, read.index, len(self.extents))
        return linear == Affine(0, row_major(self.extents))

    def _inlined(self, node: Node, read: Read) -> Scalar:
        """An inlined map at a point; where a bound is closed, the read's fill."""
        if not read.bounds:
            return self.node(node, read.index)
        scalars = self.graph.scalars
        inner = replace(self, nodes=set(), loads=set(), _known={}, _scalars={})
        value = inner.node(node, read.index)
        if scalars.constant_of(value) == read.fill:
            return value
        self.nodes |= inner.nodes
        self.loads |= inner.loads
        affine = tuple(bound for bound in read.bounds if not bound.form.computed)
        own = scalars.read_of(value)
        if own is not None and (not own.bounds or own.fill == read.fill) and len(affine) == len(read.bounds):
            own = self._guarded_index(own, affine)
            return scalars.read(own._replace(bounds=merged_bounds(own.bounds, affine), fill=read.fill))
        guarded = scalars.rewrite(value, lambda scalar, _: self._guarded(scalar, affine))
        return scalars.select(scalars.inside(read.bounds), guarded, scalars.word(read.fill))

    def _guarded(self, scalar: Scalar, bounds: tuple[Bound, ...]) -> Scalar:
        """A leaf that stays inside its tensor where the bounds are closed; its word does not matter there."""
        read = self.graph.scalars.read_of(scalar)
        if read is None:
            return scalar
        read = self._guarded_index(read, bounds)
        if not any(form.computed for form in read.index):
            for form, extent in zip(read.index, self.graph.nodes[read.node].extents, strict=True):
                low, high = form.bounds(self.extents)
                if low < 0 or high >= extent:
                    read = read._replace(bounds=merged_bounds(read.bounds, bounds))
        return self.graph.scalars.read(read)

    def _guarded_index(self, read: Read, bounds: tuple[Bound, ...]) -> Read:
        """The read with the reads inside its computed indices guarded."""
        if not any(form.computed for form in read.index):
            return read
        rewrite = self.graph.scalars.rewrite
        index = []
        for form in read.index:
            computed = tuple((s, rewrite(c, lambda leaf, _: self._guarded(leaf, bounds))) for s, c in form.computed)
            index.append(form._replace(computed=computed))
        return read._replace(index=tuple(index))


def merged_bounds(a: Sequence[Bound], b: Sequence[Bound]) -> tuple[Bound, ...]:
    """Both sets of bounds, without repetition."""
    return (*a, *(bound for bound in b if bound not in a))


def split_forms(extents: Axes, finer: Axes, before: int = 0, after: int = 0) -> list[Affine]:
    """Axes of a tensor over the finer axes of a loop nest with the same points in the same order.

    ``before`` and ``after`` are how many other axes the nest has on either side.
    """
    split = split_axes(finer, extents)
    if split is None or any(len(part) != 1 for part in split[0]):
        raise NotFusable("the axes interleave")
    axes = before + len(finer) + after
    forms, at = [], before
    for group in split[1]:
        form, stride = constant(0, axes), prod(group)
        for extent in group:
            stride //= extent
            form = form.plus(axis(at, axes, stride))
            at += 1
        forms.append(form)
    return forms


def digit_forms(scalars: ScalarGraph, extents: Axes, at: int, axes: int) -> list[Affine]:
    """Axes of a tensor as digits of one axis of a loop nest, number ``at`` of several, found by division."""
    index = scalars.affine(axis(at, axes))
    forms = []
    for stride, extent in zip(row_major(extents), extents, strict=True):
        digit = scalars.irem(scalars.idiv(index, scalars.word(stride)), scalars.word(extent))
        forms.append(Affine(0, (0,) * axes, ((1, digit),)))
    return forms
