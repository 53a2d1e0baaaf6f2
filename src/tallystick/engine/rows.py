"""Walking output points: tasks, loops inside a task, and vectors along the last axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import ceil, prod
from typing import TypeVar

from llvmlite import ir

from tallystick.engine.arithmetic import opaque
from tallystick.engine.emit import iota
from tallystick.engine.kernel_context import KernelContext
from tallystick.engine.loops import Loop, i64, split_index
from tallystick.engine.nest import dense_strides
from tallystick.engine.points import AxisIndex, Flat, Point, add
from tallystick.engine.tuning import tail_by_mask
from tallystick.engine.words import I32, LaneNumbers
from tallystick.spec.views import Guard

Prepared = TypeVar("Prepared")

TASK_NS = 2000.0  # a task should not take much less than this
TASKS = 256  # and there need not be more than these
STRETCHES = 4  # pieces that a row may be cut into where guards open and close
FLATTENED = 4  # vectors that axes too short for them are flattened to
UNROLLED = 4  # vectors of a flattened row, whose addresses are then known in advance


class Rows:
    """How the output points of a nest are walked.

    The *row* is the last output axis, or several at the end walked as one where the last is too short for vectors. The
    first ``outer`` axes before it, together with chunks of the row, make the tasks; axes between are loops in a task.
    """

    def __init__(self, context: KernelContext, point_ns: float, vectors: bool = True) -> None:
        self.context = context
        self.builder = context.builder
        self.shape = context.nest.out_shape
        self.vectors = vectors
        rank = len(self.shape)
        self.row = max(rank - 1, 0)  # first axis of the row
        if vectors and rank and self.shape[-1] < context.target.lanes and prod(self.shape) < 1 << 31:
            while self.row > 0 and not self._is_long_enough():
                self.row -= 1
        self.extent = prod(self.shape[self.row :])
        self.axes = frozenset(range(self.row, rank))
        self._split_into_tasks(point_ns)
        self.stretches = self._stretches()

    def _is_long_enough(self) -> bool:
        """Whether the axes from the row's first on fill vectors well."""
        points, lanes = prod(self.shape[self.row :]), self.context.target.lanes
        return points >= FLATTENED * lanes or (points >= lanes and points % lanes == 0)

    def _split_into_tasks(self, point_ns: float) -> None:
        wanted = min(max(prod(self.shape) * point_ns / TASK_NS, 1), TASKS)
        self.outer = 0
        while self.outer < self.row and prod(self.shape[: self.outer]) < wanted:
            self.outer += 1
        tasks = prod(self.shape[: self.outer])
        self.chunk = self.extent
        if tasks < wanted:
            step = 4 * self.context.target.lanes  # the widest vectors there are
            self.chunk = min(ceil(ceil(self.extent * tasks / wanted) / step) * step, self.extent)
        self.chunks = ceil(self.extent / self.chunk)
        self.tasks = tasks * self.chunks

    def _stretches(self) -> list[tuple[int, int]]:
        """The row cut where guards open or close, as those of a concatenation do: within a piece they do not vary."""
        whole = [(0, self.extent)]
        if len(self.axes) != 1 or self.chunks > 1 or not self.vectors:
            return whole
        cuts = {0, self.extent}
        for view in self.context.kernel.loads:
            for guard in view.address.guards:
                if all((stride != 0) == (axis == self.row) for axis, stride in enumerate(guard.strides)):
                    cuts.update(cut for cut in openings(guard, self.row) if 0 < cut < self.extent)
        pieces = list(pairwise(sorted(cuts)))
        return pieces if len(pieces) <= STRETCHES else whole

    def emit(self, lanes: int, visit: Callable[[Point, Prepared], None], prepare: Callable[[Point], Prepared]) -> None:
        """All tasks of the function: ``visit`` emits the code for ``lanes`` points at once, or fewer at a row's end.

        What ``prepare`` makes at the start of each row, from a point whose row index does not matter, is passed on.
        """
        builder = self.builder
        task = Loop(builder, self.context.task_lo, self.context.task_hi)
        number, start, stop = task.index, i64(0), i64(self.extent)
        if self.chunks > 1:
            number, chunk = split_index(builder, task.index, (0, self.chunks))
            start = builder.mul(chunk, i64(self.chunk))
            end = builder.add(start, i64(self.chunk))
            stop = builder.select(builder.icmp_signed("<", end, stop), end, stop)
        point = self.context.origin()
        for axis, index in enumerate(split_index(builder, number, self.shape[: self.outer])):
            point = point.with_axis(axis, AxisIndex(index))
        inner: list[Loop] = []
        for axis in range(self.outer, self.row):
            loop = Loop(builder, i64(0), i64(self.shape[axis]))
            point = point.with_axis(axis, AxisIndex(loop.index))
            inner.append(loop)
        self._row(point, start, stop, lanes, visit, prepare)
        for loop in [*reversed(inner), task]:
            loop.close()

    def _row(
        self,
        point: Point,
        start: ir.Value,
        stop: ir.Value,
        lanes: int,
        visit: Callable[[Point, Prepared], None],
        prepare: Callable[[Point], Prepared],
    ) -> None:
        """The points from start to stop of one row."""
        prepared = prepare(point)
        if len(self.stretches) == 1:
            self._stretch(point, start, stop, self.extent, lanes, lambda here: visit(here, prepared))
            return
        for first, last in self.stretches:
            inside = replace(point, within=(self.row, first, last - 1))
            width = min(lanes, 1 << (last - first - 1).bit_length())
            self._stretch(inside, i64(first), i64(last), last - first, width, lambda here: visit(here, prepared))

    def _stretch(
        self, point: Point, start: ir.Value, stop: ir.Value, extent: int, lanes: int, visit: Callable[[Point], None]
    ) -> None:
        """The points from start to stop. Chunks are whole vectors, so only the end of the extent has fewer lanes."""
        builder = self.builder
        rest = extent % lanes
        at = start
        if len(self.axes) > 1 and self.chunks == 1 and extent <= UNROLLED * lanes:
            for number in range(0, extent - rest, lanes):
                visit(self._at(point, i64(number), lanes))
        elif extent >= lanes:
            whole = builder.sub(stop, i64(lanes - 1)) if rest else stop
            loop = Loop(builder, start, whole, lanes)
            visit(self._at(point, loop.index, lanes))
            loop.close()
            at = loop.index
        if not rest:
            return
        if not tail_by_mask(self.context.nest, self.context.target):
            at = at if self.chunks > 1 else add(builder, stop, i64(-rest))
            loop = Loop(builder, at, stop)
            visit(self._at(point, loop.index, 1))
            loop.close()
        elif self.chunks == 1:
            visit(self._masked(point, add(builder, stop, i64(-rest)), lanes, rest, i64(rest)))
        else:
            left = builder.sub(stop, at)
            with builder.if_then(builder.icmp_signed(">", left, i64(0))):
                visit(self._masked(point, at, lanes, rest, left))

    def _masked(self, point: Point, at: ir.Value, lanes: int, rest: int, left: ir.Value) -> Point:
        """The last points of a row: ``left`` of them at run time, which is ``rest``."""
        while lanes > self.context.target.lanes and lanes // 2 >= rest:
            lanes //= 2
        if any(dtype.size < 4 for dtype in self.context.kernel.outputs):
            # LLVM 22 stores four bytes for a narrowed vector whose mask it knows to be the first lane alone.
            left = opaque(self.builder, left)
        count = self.context.emitter.broadcast(self.builder.trunc(left, I32), lanes)
        mask = self.builder.icmp_unsigned("<", iota(lanes), count)
        return replace(self._at(point, at, lanes), mask=mask)

    def _at(self, point: Point, index: ir.Value, lanes: int) -> Point:
        """So many points of the row from an index on."""
        return along(self.context, point, range(self.row, len(self.shape)), self.shape, index, lanes)


def openings(guard: Guard, axis: int) -> tuple[int, int]:
    """The first index of an axis where a guard that depends on nothing else is open, and the first where it is not."""
    stride = guard.strides[axis]
    if stride > 0:
        return -(guard.base // stride), (guard.limit - 1 - guard.base) // stride + 1
    return (guard.base - guard.limit) // -stride + 1, guard.base // -stride + 1


def known_indices(first: int, lanes: int, shape: tuple[int, ...]) -> list[list[int]]:
    """For each axis of a shape, the indices of so many row-major points from a number on."""
    strides = dense_strides(shape)
    return [
        [(first + lane) // stride % extent for lane in range(lanes)]
        for stride, extent in zip(strides, shape, strict=True)
    ]


def at_number(context: KernelContext, point: Point, axes: range, extents: tuple[int, ...], number: ir.Value) -> Point:
    """The point whose indices of some adjacent axes are those of a row-major number, the same in all lanes."""
    indices = split_index(context.builder, number, extents[axes.start : axes.stop])
    for axis, index in zip(axes, indices, strict=True):
        point = point.with_axis(axis, AxisIndex(index))
    return point


def along(
    context: KernelContext, point: Point, axes: range, extents: tuple[int, ...], number: ir.Value, lanes: int
) -> Point:
    """``lanes`` consecutive points of some adjacent axes walked as one, from a number on, a multiple of lanes."""
    builder = context.builder
    shape = extents[axes.start : axes.stop]
    if lanes == 1:
        return at_number(context, point, axes, extents, number)
    if len(axes) == 1:
        return replace(point.with_axis(axes[0], AxisIndex(number, linear=True)), lanes=lanes)
    if shape and shape[-1] % lanes == 0:
        scalars = split_index(builder, number, shape)
        indices = [*(AxisIndex(scalar) for scalar in scalars[:-1]), AxisIndex(scalars[-1], linear=True)]
    elif isinstance(number, ir.Constant):
        indices = [AxisIndex(wide=LaneNumbers(index)) for index in known_indices(number.constant, lanes, shape)]
    else:
        numbers = context.emitter.broadcast(builder.trunc(number, I32), lanes)
        wide = split_index(builder, builder.add(numbers, iota(lanes)), shape)
        indices = [AxisIndex(wide=index) for index in wide]
    for axis, index in zip(axes, indices, strict=True):
        point = point.with_axis(axis, index)
    flat = Flat(tuple(axes), dense_strides(shape), number) if shape else None
    return replace(point, lanes=lanes, flat=flat)
