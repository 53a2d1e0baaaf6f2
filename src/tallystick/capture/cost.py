"""What a kernel costs, roughly, in bytes of memory traffic: enough to compare two ways of cutting a graph."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tallystick.capture.affine import Scalar
from tallystick.capture.evaluation import Evaluation
from tallystick.capture.graph import TensorGraph
from tallystick.capture.scalars import Read
from tallystick.capture.views import Axes
from tallystick.spec.instructions import SOURCES, Op

KERNEL = 16384.0  # starting a kernel and waiting for all threads at its end
STORED_BYTE = 1.5  # a written line is read first
INSTRUCTION = 0.25  # one of a vector's many, against a byte moved
SLOW_INSTRUCTION = 2.0
COMPUTED_READ = 2  # an address found element by element
SLOW = frozenset({Op.FDIV, Op.FSQRT, Op.IDIV, Op.IREM})


def evaluation_cost(graph: TensorGraph, evaluation: Evaluation, stored_bytes: int) -> float:
    """Cost of a kernel that stores this many bytes."""
    inner = evaluation.out_extents + evaluation.reduce_extents
    cost = KERNEL + STORED_BYTE * stored_bytes
    cost += code_cost(graph, evaluation.needed_in_body, inner)
    return cost + code_cost(graph, evaluation.needed_in_epilogue, evaluation.out_extents)


def code_cost(graph: TensorGraph, needed: Sequence[Scalar], extents: Axes) -> float:
    """Cost of the instructions and loads of code that runs once per point."""
    instructions, traffic = 0.0, 0
    for number in needed:
        op = graph.scalars.instructions[number].op
        if op is Op.LOAD:
            read = graph.scalars.read_of(number)
            assert read is not None, "a load leaf is a read"
            traffic += read_bytes(graph, read, extents)
        elif op not in SOURCES:
            instructions += SLOW_INSTRUCTION if op in SLOW else INSTRUCTION
    return instructions * prod(extents) + traffic


def read_bytes(graph: TensorGraph, read: Read, extents: Axes) -> int:
    """Bytes of memory that a read touches over all points of a loop nest, each counted once if its place is affine."""
    node = graph.nodes[read.node]
    if any(form.computed for form in read.index):
        return COMPUTED_READ * prod(extents) * node.dtype.size
    moves = [any(form.strides[axis] for form in read.index) for axis in range(len(extents))]
    touched = prod(extent for extent, moving in zip(extents, moves, strict=True) if moving)
    return min(touched, node.elements) * node.dtype.size
