"""What a kernel costs, roughly, in bytes of memory traffic: enough to compare two ways of cutting a graph."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tallystick.capture.kernels.evaluation import Evaluation
from tallystick.capture.tensors.affine import Affine, Scalar
from tallystick.capture.tensors.axes import Axes
from tallystick.capture.tensors.graph import TensorGraph
from tallystick.capture.tensors.scalars import Read
from tallystick.spec.instructions import SOURCES, Op

KERNEL = 16384.0  # starting a kernel and waiting for all threads at its end
STORED_BYTE = 1.5  # a written line is read first
INSTRUCTION = 0.25  # one of a vector's many, against a byte moved
SLOW_INSTRUCTION = 2.0
SLOW = frozenset({Op.FDIV, Op.FSQRT, Op.IDIV, Op.IREM})
GATHERED = 8.0  # per element that a vector collects one by one
LANES = 16  # neighbours that a vector takes at once


def evaluation_cost(graph: TensorGraph, evaluation: Evaluation, stored_bytes: int) -> float:
    """Cost of a kernel that stores this many bytes."""
    out, inner = evaluation.out_extents, evaluation.out_extents + evaluation.reduce_extents
    along_reduce = bool(evaluation.specs) and evaluation.specs[0].lanes > 1
    cost = KERNEL + STORED_BYTE * stored_bytes
    cost += code_cost(graph, evaluation.needed_in_body, inner, len(inner) if along_reduce else len(out))
    return cost + code_cost(graph, evaluation.needed_in_epilogue, out, len(out))


def code_cost(graph: TensorGraph, needed: Sequence[Scalar], extents: Axes, end: int) -> float:
    """Cost of the instructions and loads of code that runs once per point, in vectors along the axes before ``end``."""
    instructions, traffic = 0.0, 0.0
    for number in needed:
        op = graph.scalars.instructions[number].op
        if op is Op.LOAD:
            read = graph.scalars.read_of(number)
            assert read is not None, "a load leaf is a read"
            traffic += read_cost(graph, read, extents, end)
        elif op not in SOURCES:
            instructions += SLOW_INSTRUCTION if op in SLOW else INSTRUCTION
    return instructions * prod(extents) + traffic


def read_cost(graph: TensorGraph, read: Read, extents: Axes, end: int) -> float:
    """Bytes that a read touches over all points, each counted once, or more if vectors must collect its elements."""
    node = graph.nodes[read.node]
    computed = [scalar for form in read.index for _, scalar in form.computed]
    address = graph.linear(node, read.index, len(extents))
    if not is_even(graph, address, computed, extents, end):
        return GATHERED * prod(extents)
    if computed:
        return prod(extents) * node.dtype.size
    touched = prod(extent for extent, stride in zip(extents, address.strides, strict=True) if stride)
    return min(touched, node.elements) * node.dtype.size


def is_even(graph: TensorGraph, address: Affine, computed: Sequence[Scalar], extents: Axes, end: int) -> bool:
    """Whether a vector's lanes read neighbours or all the same element."""
    varying = varying_axes(graph, computed, len(extents))
    row, uniform, dense = 1, True, True
    for axis in range(end - 1, -1, -1):
        if row >= LANES:
            break
        stride = address.strides[axis]
        uniform = uniform and stride == 0 and axis not in varying
        dense = dense and stride == row and axis not in varying
        row *= extents[axis]
    return uniform or dense


def varying_axes(graph: TensorGraph, computed: Sequence[Scalar], axes: int) -> set[int]:
    """Axes along which computed indices change."""
    found: set[int] = set()
    for number in graph.scalars.closure(computed):
        form, read = graph.scalars.form_of(number), graph.scalars.read_of(number)
        forms = [form] if form is not None else [] if read is None else list(read.index)
        found |= {axis for form in forms for axis in range(axes) if form.strides[axis]}
    return found
