"""Which nodes are needed, and which of them are so cheap that they never become kernels."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tallystick.capture.kernels.inlining import Inliner, NotFusable
from tallystick.capture.kernels.kernel_builder import check_operands
from tallystick.capture.tensors.graph import Flat, Fold, FoldSpec, Map, Node, Scatter, TensorGraph
from tallystick.spec.instructions import SOURCES, Op

CHEAP_INSTRUCTIONS = 8  # of a map that loads nothing, such as a causal mask


def live_nodes(graph: TensorGraph, roots: Iterable[Node]) -> list[Node]:
    """Every node the roots need, in the order they were described."""
    seen: set[int] = set()
    pending = [node.number for node in roots]
    while pending:
        number = pending.pop()
        if number in seen:
            continue
        seen.add(number)
        node = graph.nodes[number]
        pending.extend(read.node for read in graph.reads(node))
        match node.kind:
            case Flat(target):
                pending.append(target)
            case Scatter(base=base) if base is not None:
                pending.append(base)
    return [graph.nodes[number] for number in sorted(seen)]


def stored_nodes(nodes: Iterable[Node], graph: TensorGraph) -> set[int]:
    """Nodes that other live nodes need as dense memory."""
    found: set[int] = set()
    for node in nodes:
        match node.kind:
            case Flat(target):
                found.add(target)
            case Scatter(base=base) if base is not None:
                kind = graph.nodes[base].kind
                found.add(kind.node if isinstance(kind, Flat) else base)
    return found


def always_inlined(graph: TensorGraph, nodes: Iterable[Node], stored: Collection[int], masks: bool = True) -> set[int]:
    """Maps that cost nothing to write out: constants, renamed views, index arithmetic (if ``masks``).

    A contraction reads plain tensors only: what would have to be computed for it is left out.
    """
    nodes = list(nodes)
    cheap = {
        n.number for n in nodes if isinstance(n.kind, Map) and n.number not in stored and _is_cheap(graph, n, masks)
    }
    specs: dict[int, FoldSpec] = {}
    for node in nodes:
        if isinstance(node.kind, Fold) and node.kind.spec.contraction:
            specs[id(node.kind.spec)] = node.kind.spec
    for spec in specs.values():
        extents = spec.out_extents + spec.reduce_extents
        for operand in graph.scalars.instructions[spec.body[0]].args[:2]:
            read = graph.scalars.read_of(operand)
            while read is not None and read.node in cheap:
                written = Inliner(graph, extents, cheap).written(operand)
                try:
                    check_operands(graph, graph.scalars.ffma(written, written, graph.scalars.acc(0)))
                    break
                except NotFusable:
                    cheap.discard(read.node)
    return cheap


def _is_cheap(graph: TensorGraph, node: Node, masks: bool) -> bool:
    assert isinstance(node.kind, Map), "only maps are written out"
    read = graph.scalars.read_of(node.kind.scalar)
    if read is not None:
        return not any(form.computed for form in (*read.index, *(bound.form for bound in read.bounds)))
    needed = graph.scalars.closure([node.kind.scalar])
    operations = [graph.scalars.instructions[number].op for number in needed]
    if len(operations) == 1:
        return True
    computing = sum(op not in SOURCES for op in operations)
    return masks and Op.LOAD not in operations and computing <= CHEAP_INSTRUCTIONS
