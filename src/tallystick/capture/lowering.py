"""From a traced graph of ATen operators to a program."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from tallystick.capture.collector import collector_paused
from tallystick.capture.decompositions.refusals import advice
from tallystick.capture.dtypes import storage_dtype
from tallystick.capture.kernels.cluster import Cluster
from tallystick.capture.kernels.fusion import fuse
from tallystick.capture.kernels.kernel_builder import build_kernel
from tallystick.capture.kernels.liveness import always_inlined, live_nodes, stored_nodes
from tallystick.capture.kernels.plan import Plan
from tallystick.capture.kernels.rematerialisation import rematerialised
from tallystick.capture.registry import lowerings
from tallystick.capture.stages import begin
from tallystick.capture.tensors.context import Lowering, single_axes
from tallystick.capture.tensors.graph import Flat, Input, Node, Scatter, TensorGraph
from tallystick.capture.tensors.views import TensorView, whole
from tallystick.errors import CaptureError
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import TensorType


@dataclass(frozen=True)
class Slot:
    """What a placeholder of the graph reads: a state slot, a constant, or (type None) the step number.

    ``first_step`` is what the program's own count of its steps is added to.
    """

    type: TensorType | None
    is_state: bool = False
    first_step: int = 0


@dataclass(frozen=True)
class Lowered:
    """A program, and for every kernel the user's lines it came from."""

    program: Program
    sources: list[str]


@collector_paused()
def lower(graph: fx.Graph, slots: Sequence[Slot], fused: bool = True) -> Lowered:
    """The program of a pure graph with one placeholder per slot (states, constants, the step) and one output per state.

    Raises: CaptureError for an operator that has no lowering.
    """
    begin("lower")
    tensors = TensorGraph()
    results = lower_operators(tensors, graph, slots)
    states = [slot.type for slot in slots if slot.type is not None and slot.is_state]
    constants = [slot.type for slot in slots if slot.type is not None and not slot.is_state]
    assert len(results) == len(states), "one result per state slot"
    roots = claim_roots(tensors, results, states, states + constants)
    begin("fuse")
    plan = make_plan(tensors, roots, fused)
    kernels, sources, values = emit(plan, states + constants)
    next_state = tuple(values[node.number] for node, _ in roots)
    program = Program(tuple(states), tuple(constants), tuple(kernels), next_state)
    return Lowered(*rematerialised(program, sources)) if fused else Lowered(program, sources)


# OPERATORS
def lower_operators(tensors: TensorGraph, graph: fx.Graph, slots: Sequence[Slot]) -> list[TensorView]:
    """Describe every operator in the tensor graph; returns the graph's results."""
    context = Lowering(tensors)
    known = lowerings()
    made: dict[fx.Node, Any] = {}
    placeholders = iter(slots)
    value = 0

    def argument(item: fx.Node) -> Any:
        return made[item]

    for node in graph.nodes:
        tensors.source = node.meta.get("source") or ""
        if node.op == "placeholder":
            slot = next(placeholders)
            if slot.type is None:
                tensors.scalars.first_step = slot.first_step
                made[node] = step_number(context, node)
            else:
                made[node] = input_view(tensors, slot.type, value)
                value += 1
        elif node.op == "call_function":
            args = fx.map_arg(node.args, argument)
            kwargs = fx.map_arg(node.kwargs, argument)
            if node.target is operator.getitem:
                made[node] = args[0][args[1]]
                continue
            if node.target not in known:
                raise unknown_operator(node)
            context.node = node
            made[node] = known[node.target](context, *args, **kwargs)
            check_result(node, made[node])
        elif node.op == "output":
            return [made[item] for item in node.args[0]]
        else:
            raise AssertionError(f"a {node.op} node in a traced graph")
    raise AssertionError("a graph ends with its output")


def input_view(tensors: TensorGraph, type: TensorType, value: int) -> TensorView:
    dims = single_axes(type.shape)
    node = tensors.add(Input(value), type.dtype, [extent for axes in dims for extent in axes])
    return whole(tensors, node, dims)


def step_number(context: Lowering, node: fx.Node) -> TensorView:
    """The step number as a tensor of one integer."""
    shape = tuple(node.meta["val"].shape) if "val" in node.meta else (1,)
    return context.compute(storage_dtype(node.meta["val"].dtype), shape, lambda point: point.step())


def unknown_operator(node: fx.Node) -> CaptureError:
    where = node.meta.get("source") or "an unknown line"
    return CaptureError(f"{node.target} cannot be captured ({where}): {advice(node.target)}")


def check_result(node: fx.Node, result: Any) -> None:
    """A lowering returns what PyTorch says the operator returns: our own bug if not."""
    expected = node.meta.get("val")
    for got, want in zip(as_tuple(result), as_tuple(expected), strict=True):
        if got is None or want is None:
            continue
        assert got.shape == tuple(want.shape), f"{node.target}: shape {got.shape}, PyTorch says {tuple(want.shape)}"
        assert got.dtype is storage_dtype(want.dtype), f"{node.target}: {got.dtype.name}, PyTorch says {want.dtype}"


def as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


# ROOTS
Root = tuple[Node, tuple[int, ...] | None]


def claim_roots(
    tensors: TensorGraph, results: Sequence[TensorView], states: Sequence[TensorType], inputs: Sequence[TensorType]
) -> list[Root]:
    """The node that holds every state slot's next value, and the shape it must have; copies where that is needed."""
    claimed: dict[int, tuple[int, ...]] = {}
    roots: list[Root] = []
    live = live_nodes(tensors, [view.node for view in results])
    cheap = always_inlined(tensors, live, {view.node.number for view in results})
    for slot, (view, type) in enumerate(zip(results, states, strict=True)):
        assert view.shape == type.shape and view.dtype is type.dtype, f"state slot {slot} changes its type"
        node = view.node
        if isinstance(node.kind, Input) and view.is_whole and inputs[node.kind.value] == type:
            roots.append((node, None))
            continue
        usable = view.is_whole and claimed.get(node.number, type.shape) == type.shape
        if not usable or not can_have_shape(tensors, node, type, inputs, cheap):
            node = copy_of(tensors, view, type, inputs, cheap)
        claimed[node.number] = type.shape
        roots.append((node, type.shape))
    return roots


def can_have_shape(
    tensors: TensorGraph, node: Node, type: TensorType, inputs: Sequence[TensorType], cheap: set[int]
) -> bool:
    """Whether a kernel of this node alone can store it in this shape."""
    match node.kind:
        case Input() | Flat():
            return False
        case Scatter(base=None):
            return True
        case Scatter(base=int(number)):  # the result has its base's shape
            base = tensors.nodes[number]
            base = tensors.nodes[base.kind.node] if isinstance(base.kind, Flat) else base
            return isinstance(base.kind, Input) and inputs[base.kind.value] == type
    return Plan(tensors, {node.number: type.shape}, frozenset(), cheap - {node.number}).fits_alone(node)


def copy_of(
    tensors: TensorGraph, view: TensorView, type: TensorType, inputs: Sequence[TensorType], cheap: set[int]
) -> Node:
    """A node of its own with the same elements that can be stored in exactly the type's shape."""
    mapped = view.mapped().node
    copied = tensors.fresh(mapped.kind, mapped.dtype, mapped.extents)
    if can_have_shape(tensors, copied, type, inputs, cheap):
        return copied
    flat = view.materialised()
    for dim in range(flat.rank):
        flat = flat.flattened(dim)
    mapped = flat.mapped().node
    return tensors.fresh(mapped.kind, mapped.dtype, mapped.extents)


# KERNELS
def make_plan(tensors: TensorGraph, roots: Sequence[Root], fused: bool) -> Plan:
    """Decide which nodes become which kernels; without ``fused`` every map that computes is one of its own."""
    live = live_nodes(tensors, [node for node, _ in roots])
    forced: dict[int, tuple[int, ...] | None] = dict.fromkeys(sorted(stored_nodes(live, tensors)))
    forced.update({node.number: shape for node, shape in roots})
    cheap = always_inlined(tensors, live, forced, masks=fused)
    plan = Plan(tensors, forced, frozenset(cheap), cheap)
    plan.add(live)
    if fused:
        fuse(plan)
    return plan


def emit(plan: Plan, inputs: Sequence[TensorType]) -> tuple[list[Kernel], list[str], dict[int, int]]:
    """The kernels in order, the sources of each, and the value number of every stored node."""
    graph = plan.graph
    values = {node.number: node.kind.value for node in graph.nodes if isinstance(node.kind, Input)}
    shapes = {number: inputs[value].shape for number, value in values.items()}
    kernels: list[Kernel] = []
    sources: list[str] = []
    following = len(inputs)
    for cluster in plan.ordered():
        evaluation = cluster.evaluation
        assert evaluation is not None, "a planned cluster is evaluated"
        dtypes = [graph.nodes[number].dtype for number in cluster.outputs]
        base_shape = scatter_shape(plan, cluster, shapes)
        kernel = build_kernel(graph, evaluation, values, dtypes, cluster.shape, base_shape)
        kernels.append(kernel)
        sources.append(source_of(plan, cluster))
        for number, type in zip(cluster.outputs, kernel.output_types, strict=True):
            values[number] = following
            shapes[number] = type.shape
            following += 1
    return kernels, sources, values


def scatter_shape(plan: Plan, cluster: Cluster, shapes: dict[int, tuple[int, ...]]) -> tuple[int, ...] | None:
    """The shape of a scatter's output: its base's, the one that is asked for, or its axes'."""
    if cluster.scatter is None:
        return None
    node = plan.graph.nodes[cluster.scatter]
    assert isinstance(node.kind, Scatter), "the node of a scatter cluster"
    if node.kind.base is not None:
        base = plan.graph.nodes[node.kind.base]
        return shapes[base.kind.node if isinstance(base.kind, Flat) else base.number]
    return node.extents if cluster.shape is None else cluster.shape


def source_of(plan: Plan, cluster: Cluster) -> str:
    """The distinct lines of the nodes in a kernel, in order; constants count only if nothing else does."""
    assert cluster.evaluation is not None, "a planned cluster is evaluated"
    nodes = cluster.evaluation.nodes | set(cluster.outputs)
    nodes = sorted(nodes - plan.cheap) or sorted(nodes)
    return " | ".join(dict.fromkeys(line for number in nodes for line in plan.graph.nodes[number].sources))
