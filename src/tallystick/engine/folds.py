"""Folds as machine code, in exactly the order of the definition.

Two shapes, chosen by cost:

*Across outputs*: every lane of a vector is another output point; the fold's own lanes are separate vectors. For sums
over rows of a matrix and the like, where neighbouring outputs read neighbouring elements.

*Across lanes*: one output point at a time; one vector holds the fold's lanes and takes L consecutive reduce points at
once. For sums along rows.

The value of a block depends on nothing before it: where there are too few output points for threads to share, the
blocks of a fold become tasks of a first phase and a second merges them in order.
"""

from __future__ import annotations

from math import ceil, prod

from llvmlite import ir

from tallystick.engine.accumulators import Accumulators, float_accumulators
from tallystick.engine.fold_blocks import AcrossLanes, AcrossOutputs, Blocks
from tallystick.engine.kernel_context import KernelContext, Known
from tallystick.engine.kernel_function import KernelFunction, Phase
from tallystick.engine.loops import Loop, i64, split_index
from tallystick.engine.memory_access import Located
from tallystick.engine.nest import Nest
from tallystick.engine.points import Affine, Point, add, affine, times
from tallystick.engine.rows import Rows
from tallystick.engine.target import Target
from tallystick.engine.tuning import arithmetic_instructions, point_cost, store_cost, vector_lanes
from tallystick.engine.words import Word
from tallystick.spec.kernels import Fold

SPLIT_NS = 20000.0  # a fold that takes less than this is not worth two phases
FEW_TASKS = 16


def emit_fold(module: ir.Module, name: str, nest: Nest, target: Target) -> KernelFunction:
    """The function of a fold that is no scan."""
    fold = nest.kernel.fold
    assert fold is not None and not fold.scan
    return _FoldFunction(module, name, nest, target, fold).emit()


class _FoldFunction:
    """The phases of one fold."""

    def __init__(self, module: ir.Module, name: str, nest: Nest, target: Target, fold: Fold) -> None:
        self.module, self.name, self.nest, self.target, self.fold = module, name, nest, target, fold
        self.floats = float_accumulators(nest.kernel, nest.slots)
        self.outputs = prod(nest.out_shape)
        self.blocks = ceil(nest.reduce_points / fold.block)
        across_outputs, across_lanes = self._costs()
        self.across_lanes = across_lanes < across_outputs
        self.point_ns = min(across_lanes, across_outputs)

    def _costs(self) -> tuple[float, float]:
        """Estimated ns per output point, across outputs and across lanes."""
        nest, fold = self.nest, self.fold
        out_rank, points = len(nest.out_shape), nest.reduce_points
        epilogue = point_cost(nest, [fold.epilogue], None, self.target) + store_cost(nest)
        axis = out_rank - 1 if out_rank else None
        step = point_cost(nest, [nest.kernel.body], axis, self.target)
        if out_rank:
            used = nest.out_shape[-1] / self.target.lanes
            step *= max(ceil(used) / used, 1.0) if used > 0.5 else 1.5
        across_outputs = points * step + epilogue / (1 if axis is None else self.target.lanes)
        if fold.lanes == 1:
            return across_outputs, float("inf")
        axis = len(nest.extents) - 1 if nest.reduce_shape else None
        step = point_cost(nest, [nest.kernel.body], axis, self.target)
        if len(nest.reduce_shape) > 1 and nest.reduce_shape[-1] % fold.lanes:
            step *= 4 if points < 1 << 31 else float("inf")
        turns = ceil(points / fold.lanes)
        merges = (1 + arithmetic_instructions(fold.merge)) * fold.lanes.bit_length() * self.blocks
        return across_outputs, turns * fold.lanes * step + merges + epilogue

    def emit(self) -> KernelFunction:
        total_ns = self.point_ns * self.outputs
        context, rows, lanes = self._start(self.name)
        if self.blocks > 1 and total_ns > SPLIT_NS and rows.tasks < FEW_TASKS:
            self.module.globals.pop(context.function.name)
            return self._two_phases(total_ns)
        self._whole(context, rows, lanes)
        return KernelFunction((Phase(self.name, rows.tasks, total_ns),))

    def _start(self, name: str) -> tuple[KernelContext, Rows, int]:
        """A phase function that walks the output points so many at a time."""
        context = KernelContext(self.module, name, self.nest, self.target)
        rows = Rows(context, self.point_ns, vectors=not self.across_lanes)
        if self.across_lanes or not self.nest.out_shape:
            return context, rows, 1
        body = arithmetic_instructions(self.nest.kernel.body)
        # One accumulator is one chain of dependent steps: wider vectors are more chains. Several are chains enough.
        instructions = body if self.fold.lanes == 1 else 1000
        return context, rows, vector_lanes(rows.extent, instructions, self.target)

    def _maker(self, context: KernelContext) -> Blocks:
        accumulators = Accumulators(context, self.fold.init, self.fold.merge, self.floats)
        return (AcrossLanes if self.across_lanes else AcrossOutputs)(context, accumulators)

    def _whole(self, context: KernelContext, rows: Rows, lanes: int) -> None:
        """Everything in one phase."""
        blocks = self._maker(context)

        def prepare(point: Point) -> Known:
            return context.uniform(self.fold.epilogue, point, rows.axes, accumulators=True)

        def visit(point: Point, known: Known) -> None:
            total = blocks.total(point)
            words = context.run(self.fold.epilogue, point, known, blocks.accumulators.words(total))
            context.store_all(point, words, self._out_strides)

        rows.emit(lanes, visit, prepare)
        context.builder.ret_void()

    @property
    def _out_strides(self) -> tuple[int, ...]:
        return self.nest.out_strides + (0,) * len(self.nest.reduce_shape)

    # TWO PHASES
    def _two_phases(self, total_ns: float) -> KernelFunction:
        """Block values into shared memory, as [block][accumulator][output point]; then their merges."""
        names = (f"{self.name}_blocks", f"{self.name}_merge")
        block_tasks = self._block_phase(names[0])
        merge_tasks = self._merge_phase(names[1])
        merge_ns = self.blocks * self.outputs * 1.0
        return KernelFunction(
            (Phase(names[0], block_tasks, total_ns), Phase(names[1], merge_tasks, merge_ns)),
            shared_bytes=self.blocks * len(self.fold.init) * self.outputs * 4,
        )

    def _block_phase(self, name: str) -> int:
        context, rows, lanes = self._start(name)
        blocks = self._maker(context)
        builder = context.builder
        # A task of this phase is a block of a task of the rows.
        task = Loop(builder, context.task_lo, context.task_hi)
        row_task, block = split_index(builder, task.index, (0, self.blocks))
        context.task_lo, context.task_hi = row_task, builder.add(row_task, i64(1))

        def visit(point: Point, _: None) -> None:
            values = blocks.block(point, block)
            for number, word in enumerate(blocks.accumulators.words(values)):
                dtype = blocks.accumulators.dtype(number)
                context.memory.store_at(dtype, context.shared, self._place(context, point, block, number), point, word)

        rows.emit(lanes, visit, lambda _: None)
        task.close()
        builder.ret_void()
        return rows.tasks * self.blocks

    def _merge_phase(self, name: str) -> int:
        context, rows, lanes = self._start(name)
        accumulators = Accumulators(context, self.fold.init, self.fold.merge, self.floats)
        builder = context.builder

        def load(point: Point, block: ir.Value) -> list[ir.Value]:
            words: list[Word] = []
            for number in range(len(accumulators)):
                located = self._place(context, point, block, number)
                words.append(context.memory.load_at(accumulators.dtype(number), context.shared, located, point))
            return accumulators.values(words, point.lanes)

        def visit(point: Point, _: None) -> None:
            loop = Loop(builder, i64(1), i64(self.blocks), carried=load(point, i64(0)))
            total = loop.close(accumulators.merge(loop.carried, load(point, loop.index), point.lanes))
            words = context.run(self.fold.epilogue, point, None, accumulators.words(total))
            context.store_all(point, words, self._out_strides)

        rows.emit(lanes, visit, lambda _: None)
        builder.ret_void()
        return rows.tasks

    def _place(self, context: KernelContext, point: Point, block: ir.Value, number: int) -> Located:
        """Where the value of a block lies in shared memory."""
        builder = context.builder
        place = affine(builder, number * self.outputs, self._out_strides, point, self.nest.extents)
        offset = times(builder, block, len(self.fold.init) * self.outputs)
        return Located(Affine(add(builder, place.scalar, offset), place.step, place.wide), None)
