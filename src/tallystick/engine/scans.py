"""Scans as machine code: one accumulator set walks the reduce axis, vectors lie across output points."""

from __future__ import annotations

from math import prod

from llvmlite import ir

from tallystick.engine.accumulators import Accumulators, float_accumulators
from tallystick.engine.kernel_context import KernelContext
from tallystick.engine.kernel_function import KernelFunction, Phase
from tallystick.engine.loops import Loop, i64
from tallystick.engine.nest import Nest, dense_strides
from tallystick.engine.points import Point
from tallystick.engine.rows import Rows, at_number
from tallystick.engine.target import Target
from tallystick.engine.tuning import point_cost, store_cost, vector_lanes


def emit_scan(module: ir.Module, name: str, nest: Nest, target: Target) -> KernelFunction:
    """The function of a scan."""
    kernel, fold = nest.kernel, nest.kernel.fold
    assert fold is not None and fold.scan, "only scans are scanned"
    context = KernelContext(module, name, nest, target)
    accumulators = Accumulators(context, fold.init, fold.merge, float_accumulators(kernel, nest.slots))
    axis = len(nest.out_shape) - 1 if nest.out_shape else None
    point_ns = nest.reduce_points * (point_cost(nest, [kernel.body, fold.epilogue], axis, target) + store_cost(nest))
    rows = Rows(context, point_ns)
    lanes = vector_lanes(rows.extent, 1000, target)  # a register's lanes, however small the body
    reduce_axes = range(len(nest.out_shape), len(nest.extents))
    strides = dense_strides(nest.extents)

    def visit(point: Point, _: None) -> None:
        loop = Loop(context.builder, i64(0), i64(nest.reduce_points), carried=accumulators.start(point.lanes))
        here = at_number(context, point, reduce_axes, nest.extents, loop.index)
        words = context.run(kernel.body, here, accumulators=accumulators.words(loop.carried))
        values = accumulators.values(words, point.lanes)
        context.store_all(here, context.run(fold.epilogue, here, accumulators=accumulators.words(values)), strides)
        loop.close(values)

    rows.emit(lanes, visit, lambda _: None)
    context.builder.ret_void()
    return KernelFunction((Phase(name, rows.tasks, point_ns * prod(nest.out_shape)),))
