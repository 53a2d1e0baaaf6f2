"""What a cluster of nodes computes at one point of its loop nest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from tallystick.capture.kernels.inlining import Inliner, NotFusable, digit_forms, split_forms
from tallystick.capture.tensors.affine import Scalar
from tallystick.capture.tensors.axes import Axes
from tallystick.capture.tensors.graph import Flat, Fold, FoldSpec, Node, Scatter, TensorGraph
from tallystick.spec.instructions import Instruction, Op
from tallystick.spec.limits import COMPUTED


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scalar code of a kernel, as expressions.

    ``body`` is over the output and reduce axes; ``epilogue`` (of a fold) over the output axes. ``nodes`` are all nodes
    written out in it, ``loads`` the nodes read from memory. Whether the nodes in ``met`` are inlined decided about it.
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
    met: frozenset[int]
    needed_in_body: tuple[Scalar, ...]
    needed_in_epilogue: tuple[Scalar, ...]


def evaluate_map(
    graph: TensorGraph,
    outputs: Sequence[Node],
    members: Collection[int],
    extents: Axes,
    inlined: Collection[int],
    linear: bool = False,
) -> Evaluation:
    """Several maps over the same points as one kernel; if ``linear``, over one axis whatever the tensors have."""
    inliner = Inliner(graph, extents, inlined, members)
    forms = [
        digit_forms(graph.scalars, node.extents, 0, 1) if linear else split_forms(node.extents, extents)
        for node in outputs
    ]
    body = tuple(inliner.node(node, own) for node, own in zip(outputs, forms, strict=True))
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
        met=frozenset(inliner.met),
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
    linear: bool = False,
) -> Evaluation:
    """Reductions over the same points as one kernel, with maps of their results as its epilogue.

    If ``linear``, over one output axis and one reduce axis, whatever the reduction has.
    """
    scalars = graph.scalars
    extents = out_extents + reduce_extents
    in_body = Inliner(graph, extents, inlined)
    body: list[Scalar] = []
    merge: list[Scalar] = []
    accumulators: dict[tuple[int, int], Scalar] = {}
    count = sum(len(spec.init) for spec in specs)
    for number, spec in enumerate(specs):
        offset, width = len(body), len(spec.init)
        if linear:
            forms = digit_forms(scalars, spec.out_extents, 0, 2) + digit_forms(scalars, spec.reduce_extents, 1, 2)
        else:
            forms = split_forms(spec.out_extents, out_extents, after=len(reduce_extents))
            forms += split_forms(spec.reduce_extents, reduce_extents, before=len(out_extents))
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
        met=frozenset(in_body.met | in_epilogue.met),
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
    terms = [(stride, inliner.written(scalar)) for stride, scalar in address.computed]
    plain = address._replace(computed=())
    for stride, scalar in terms:
        plain = plain.plus(graph.scalars.as_affine(scalar, axes).scaled(stride))
    if len(plain.computed) > COMPUTED:  # written out they are more than an address can have: leave each whole
        plain = address._replace(computed=tuple(terms))
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
        met=frozenset(inliner.met),
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
