"""Maps as machine code: vectors along the last output axis, everything that does not vary along it computed once."""

from __future__ import annotations

from math import prod

from llvmlite import ir

from tallystick.engine.kernel_context import KernelContext, Known
from tallystick.engine.kernel_function import KernelFunction, Phase
from tallystick.engine.nest import Nest
from tallystick.engine.points import Point
from tallystick.engine.rows import Rows
from tallystick.engine.target import Target
from tallystick.engine.tuning import arithmetic_instructions, point_cost, store_cost, vector_lanes


def emit_map(module: ir.Module, name: str, nest: Nest, target: Target) -> KernelFunction:
    """The function of a map."""
    context = KernelContext(module, name, nest, target)
    body, strides = nest.kernel.body, nest.out_strides
    axis = len(nest.extents) - 1 if nest.extents else None
    point_ns = point_cost(nest, [body], axis, target) + store_cost(nest)
    rows = Rows(context, point_ns)
    lanes = vector_lanes(rows.extent, arithmetic_instructions(body), target)

    def prepare(point: Point) -> Known:
        return context.uniform(body, point, rows.axes)

    def visit(point: Point, known: Known) -> None:
        context.store_all(point, context.run(body, point, known), strides)

    rows.emit(lanes, visit, prepare)
    context.builder.ret_void()
    return KernelFunction((Phase(name, rows.tasks, point_ns * prod(nest.extents)),))
