"""What a cluster of nodes computes at one point of its loop nest, with everything that is not loaded written out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from tallystick.capture.affine import Affine, Bound, Scalar, axis, constant, row_major
from tallystick.capture.axes import Axes, split_axes
from tallystick.capture.graph import Flat, Fold, FoldSpec, Map, Node, Scatter, TensorGraph
from tallystick.capture.scalars import Read
from tallystick.spec.instructions import Instruction, Op


class NotFusable(Exception):  # noqa: N818 - an outcome of an attempt, not an error
    """The nodes cannot be one kernel; the attempt is dropped."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scalar code of a kernel, as expressions.

    ``body`` is over the output and reduce axes; ``epilogue`` (of a fold) over the output axes. ``nodes`` are all nodes
    written out in it, ``loads`` the nodes read from memory.
    """

    out_extents: Axes
    reduce_extents: Axes
    body: tuple[Scalar, ...]
    epilogue: tuple[Scalar, ...]
    merge: tuple[Scalar, ...]
    init: tuple[int, ...]
    specs: tuple[FoldSpec, ...]
    scatter: Scatter | None
    nodes: frozenset[int]
    loads: frozenset[int]
    needed_in_body: tuple[Scalar, ...]
    needed_in_epilogue: tuple[Scalar, ...]


@dataclass(slots=True)
class Inliner:
    """Writes out expressions over the axes of one loop nest.

    ``inlined`` are nodes that are written out wherever they are read. ``members`` are written out where they are read
    at the nest's own point. ``accumulators`` give the scalar of a fold's result at that point.
    """

    graph: TensorGraph
    extents: Axes
    inlined: Collection[int]
    members: Collection[int] = ()
    accumulators: Mapping[int, Scalar] = field(default_factory=dict)
    nodes: set[int] = field(default_factory=set)
    loads: set[int] = field(default_factory=set)
    _known: dict[Read, Scalar] = field(default_factory=dict)
    _scalars: dict[Scalar, Scalar] = field(default_factory=dict)

    def node(self, node: Node, forms: Sequence[Affine]) -> Scalar:
        """The element of a map node at a point."""
        assert isinstance(node.kind, Map), "only maps are written out"
        self.nodes.add(node.number)
        axes = len(self.extents)
        return self.written(self.graph.scalars.move(node.kind.scalar, forms, axes))

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
        return replace(read, index=index, bounds=tuple(bounds))

    def _plain_form(self, form: Affine) -> Affine:
        if not form.computed:
            return form
        axes = len(self.extents)
        result = replace(form, computed=())
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
            if target.number not in self.inlined:
                raise NotFusable("a member is read at another point")
        if node.number in self.inlined:
            return self._inlined(node, read)
        self.loads.add(target.number)
        return scalars.read(read)

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
        inner = Inliner(self.graph, self.extents, self.inlined, self.members, self.accumulators)
        value = inner.node(node, read.index)
        if scalars.constant_of(value) == read.fill:
            return value
        self.nodes |= inner.nodes
        self.loads |= inner.loads
        affine = tuple(bound for bound in read.bounds if not bound.form.computed)
        own = scalars.read_of(value)
        if own is not None and (not own.bounds or own.fill == read.fill) and len(affine) == len(read.bounds):
            own = self._guarded_index(own, affine)
            return scalars.read(replace(own, bounds=merged_bounds(own.bounds, affine), fill=read.fill))
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
                    read = replace(read, bounds=merged_bounds(read.bounds, bounds))
        return self.graph.scalars.read(read)

    def _guarded_index(self, read: Read, bounds: tuple[Bound, ...]) -> Read:
        """The read with the reads inside its computed indices guarded."""
        if not any(form.computed for form in read.index):
            return read
        rewrite = self.graph.scalars.rewrite
        index = []
        for form in read.index:
            computed = tuple((s, rewrite(c, lambda leaf, _: self._guarded(leaf, bounds))) for s, c in form.computed)
            index.append(replace(form, computed=computed))
        return replace(read, index=tuple(index))


def merged_bounds(a: Sequence[Bound], b: Sequence[Bound]) -> tuple[Bound, ...]:
    """Both sets of bounds, without repetition."""
    return (*a, *(bound for bound in b if bound not in a))


def split_forms(extents: Axes, finer: Axes) -> list[Affine]:
    """Axes of a tensor over the finer axes of a loop nest with the same points in the same order."""
    split = split_axes(finer, extents)
    if split is None or any(len(part) != 1 for part in split[0]):
        raise NotFusable("the axes interleave")
    forms, at = [], 0
    for group in split[1]:
        form, stride = constant(0, len(finer)), prod(group)
        for extent in group:
            stride //= extent
            form = form.plus(axis(at, len(finer), stride))
            at += 1
        forms.append(form)
    return forms


def evaluate_map(
    graph: TensorGraph, outputs: Sequence[Node], members: Collection[int], extents: Axes, inlined: Collection[int]
) -> Evaluation:
    """Several maps over the same points as one kernel."""
    inliner = Inliner(graph, extents, inlined, members)
    body = tuple(inliner.node(node, split_forms(node.extents, extents)) for node in outputs)
    return Evaluation(
        out_extents=extents,
        reduce_extents=(),
        body=body,
        epilogue=(),
        merge=(),
        init=(),
        specs=(),
        scatter=None,
        nodes=frozenset(inliner.nodes),
        loads=frozenset(inliner.loads),
        needed_in_body=tuple(graph.scalars.closure(body)),
        needed_in_epilogue=(),
    )


def evaluate_fold(
    graph: TensorGraph,
    specs: Sequence[FoldSpec],
    outputs: Sequence[Node],
    members: Collection[int],
    out_extents: Axes,
    reduce_extents: Axes,
    inlined: Collection[int],
) -> Evaluation:
    """Reductions over the same points as one kernel, with maps of their results as its epilogue."""
    scalars = graph.scalars
    extents = out_extents + reduce_extents
    in_body = Inliner(graph, extents, inlined)
    body: list[Scalar] = []
    merge: list[Scalar] = []
    accumulators: dict[tuple[int, int], Scalar] = {}
    count = sum(len(spec.init) for spec in specs)
    for number, spec in enumerate(specs):
        offset, width = len(body), len(spec.init)
        forms = split_forms(spec.out_extents, out_extents)
        forms = [extended(form, len(extents)) for form in forms]
        forms += [
            extended(form, len(extents), len(out_extents)) for form in split_forms(spec.reduce_extents, reduce_extents)
        ]
        for scalar in spec.body:
            moved = in_body.written(scalars.move(scalar, forms, len(extents)))
            body.append(renumbered(graph, moved, range(offset, offset + width)))
        for scalar in spec.merge:
            places = [*range(offset, offset + width), *range(count + offset, count + offset + width)]
            merge.append(renumbered(graph, scalar, places))
        for k in range(width):
            accumulators[number, k] = scalars.acc(offset + k)
    results = fold_results(graph, specs, members, accumulators)
    at = extents if specs[0].scan else out_extents
    in_epilogue = Inliner(graph, at, inlined, members, results)
    epilogue = []
    for node in outputs:
        if node.number in results:
            in_epilogue.nodes.add(node.number)
            epilogue.append(results[node.number])
        else:
            epilogue.append(in_epilogue.node(node, split_forms(node.extents, at)))
    own = in_body.loads & (set(members) | set(results))
    if own:
        raise NotFusable("a fold reads what its own kernel makes")
    return Evaluation(
        out_extents=out_extents,
        reduce_extents=reduce_extents,
        body=tuple(body),
        epilogue=tuple(epilogue),
        merge=tuple(merge),
        init=tuple(word for spec in specs for word in spec.init),
        specs=tuple(specs),
        scatter=None,
        nodes=frozenset(in_body.nodes | in_epilogue.nodes),
        loads=frozenset(in_body.loads | in_epilogue.loads),
        needed_in_body=tuple(scalars.closure(body)),
        needed_in_epilogue=tuple(scalars.closure(epilogue)),
    )


def evaluate_scatter(graph: TensorGraph, node: Node, inlined: Collection[int]) -> Evaluation:
    """A scatter; its word and address are written out."""
    kind = node.kind
    assert isinstance(kind, Scatter), "a scatter node"
    inliner = Inliner(graph, kind.extents, inlined)
    word = inliner.written(kind.word)
    address = kind.address
    axes = len(kind.extents)
    plain = replace(address, computed=())
    for stride, scalar in address.computed:
        plain = plain.plus(graph.scalars.as_affine(inliner.written(scalar), axes).scaled(stride))
    loads = set(inliner.loads)
    if kind.base is not None:
        base = graph.nodes[kind.base]
        loads.add(base.kind.node if isinstance(base.kind, Flat) else base.number)
    return Evaluation(
        out_extents=kind.extents,
        reduce_extents=(),
        body=(word,),
        epilogue=(),
        merge=() if kind.merge is None else (kind.merge,),
        init=(),
        specs=(),
        scatter=replace(kind, address=plain),
        nodes=frozenset(inliner.nodes | {node.number}),
        loads=frozenset(loads),
        needed_in_body=tuple(graph.scalars.closure([word, *(scalar for _, scalar in plain.computed)])),
        needed_in_epilogue=(),
    )


def fold_results(
    graph: TensorGraph,
    specs: Sequence[FoldSpec],
    members: Collection[int],
    accumulators: Mapping[tuple[int, int], Scalar],
) -> dict[int, Scalar]:
    """The accumulator of every member that is a result of one of the folds."""
    place = {id(spec): number for number, spec in enumerate(specs)}  # a graph holds one object per spec
    results: dict[int, Scalar] = {}
    for number in members:
        kind = graph.nodes[number].kind
        if isinstance(kind, Fold):
            results[number] = accumulators[place[id(kind.spec)], kind.accumulator]
    return results


def renumbered(graph: TensorGraph, scalar: Scalar, places: Sequence[int]) -> Scalar:
    """The expression with accumulator k numbered ``places[k]``."""
    scalars = graph.scalars
    if list(places) == list(range(len(places))):
        return scalar

    def leaf(number: Scalar, instruction: Instruction) -> Scalar:
        return scalars.acc(places[instruction.imm]) if instruction.op is Op.ACC else number

    return scalars.rewrite(scalar, leaf)


def extended(form: Affine, axes: int, before: int = 0) -> Affine:
    """A form over more axes: ``before`` new ones first, the others last."""
    after = axes - before - len(form.strides)
    assert not form.computed, "only plain forms are extended"
    return Affine(form.base, (0,) * before + form.strides + (0,) * after)
