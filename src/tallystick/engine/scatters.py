"""Scatters as machine code: the output starts as its base or a constant, then takes words in source order.

The order matters only between source points that write one element. Where neighbours along the last source axis write
neighbouring elements, a vector of them is placed at once; and where no element is written from two places of that axis,
threads share it.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, gcd, prod

from llvmlite import ir

from tallystick.engine.emit import iota
from tallystick.engine.kernel_context import KernelContext
from tallystick.engine.kernel_function import KernelFunction, Phase
from tallystick.engine.loops import Loop, i64
from tallystick.engine.memory_access import Located
from tallystick.engine.nest import Nest, varying_registers
from tallystick.engine.points import Affine, AxisIndex, Point
from tallystick.engine.target import Target
from tallystick.engine.tuning import point_cost
from tallystick.engine.words import I32, Word, constant_word
from tallystick.spec.kernels import Scatter

FILL_CHUNK = 16384  # elements of one task of filling or copying
FILL_NS = 0.1  # per element
STRIPE_NS = 4000.0  # what a thread's stripe of a scatter should take at least


def emit_scatter(module: ir.Module, name: str, nest: Nest, target: Target) -> KernelFunction:
    """The two phases of a scatter."""
    scatter = nest.kernel.scatter
    assert scatter is not None, "only scatters are scattered"
    fill_name, place_name = f"{name}_fill", f"{name}_place"
    elements = prod(scatter.shape)
    _emit_fill(module, fill_name, nest, target, scatter, elements)
    place = _Placement(module, place_name, nest, target, scatter, elements)
    place.emit()
    fill_phase = Phase(fill_name, ceil(elements / FILL_CHUNK), elements * FILL_NS)
    return KernelFunction((fill_phase, Phase(place_name, place.tasks, place.total_ns)))


def _emit_fill(module: ir.Module, name: str, nest: Nest, target: Target, scatter: Scatter, elements: int) -> None:
    """The output's start. Nothing is done where the output is the base itself, updated in place."""
    context = KernelContext(module, name, nest, target)
    builder, dtype, output = context.builder, nest.kernel.outputs[0], context.outputs[0]
    base: ir.Value | None = None
    if scatter.base is not None:
        base = context.load_base()
        with builder.if_then(builder.icmp_unsigned("==", base, output)):
            builder.ret_void()
    start = builder.mul(context.task_lo, i64(FILL_CHUNK))
    end = builder.mul(context.task_hi, i64(FILL_CHUNK))
    end = builder.select(builder.icmp_signed("<", end, i64(elements)), end, i64(elements))
    lanes = target.lanes * 2

    def copy(at: ir.Value, count: int) -> None:
        located = Located(Affine(at, 1 if count > 1 else 0), None)
        point = Point((), count)
        word = constant_word(scatter.fill) if base is None else context.memory.load_at(dtype, base, located, point)
        context.memory.store_at(dtype, output, located, point, word)

    whole = Loop(builder, start, builder.sub(end, i64(lanes - 1)), lanes)
    copy(whole.index, lanes)
    whole.close()
    single = Loop(builder, whole.index, end)
    copy(single.index, 1)
    single.close()
    builder.ret_void()


class _Placement:
    """The phase that places words."""

    def __init__(
        self, module: ir.Module, name: str, nest: Nest, target: Target, scatter: Scatter, elements: int
    ) -> None:
        self.context = KernelContext(module, name, nest, target)
        self.builder = self.context.builder
        self.nest, self.scatter, self.elements = nest, scatter, elements
        self.shape = nest.out_shape
        self.last = len(self.shape) - 1
        self.lanes = self._lanes()
        axis = self.last if self.lanes > 1 else None
        self.total_ns = (point_cost(nest, [nest.kernel.body], axis, target) + 0.5) * prod(self.shape)
        self.stripe = self._stripe()
        self.tasks = ceil(self.shape[-1] / self.stripe) if self.shape else 1

    def _lanes(self) -> int:
        """Lanes of the vectors along the last axis, 1 if neighbours may write one element or far ones."""
        if not self.shape or self.nest.kernel.outputs[0].size != 4 or self.scatter.address.strides[self.last] != 1:
            return 1
        varying = varying_registers(self.nest.kernel.body, self.nest, frozenset({self.last}))
        if any(register in varying for _, register in self.scatter.address.computed):
            return 1
        return min(self.context.target.lanes, 1 << (self.shape[-1] - 1).bit_length())

    def _stripe(self) -> int:
        """How much of the last axis makes a task: all of it, unless different places write different elements."""
        if self.lanes == 1:
            return self.shape[-1] if self.shape else 1
        address = self.scatter.address
        others = [stride for stride, extent in zip(address.strides, self.shape, strict=True) if extent > 1][:-1]
        apart = gcd(*others, *(stride for stride, _ in address.computed))
        if 0 < apart < self.shape[-1]:
            return self.shape[-1]
        wanted = max(self.total_ns / STRIPE_NS, 1)
        return ceil(ceil(self.shape[-1] / wanted) / self.lanes) * self.lanes

    def emit(self) -> None:
        builder = self.builder
        task = Loop(builder, self.context.task_lo, self.context.task_hi)
        point = self.context.origin()
        loops: list[Loop] = []
        for axis in range(self.last):
            loop = Loop(builder, i64(0), i64(self.shape[axis]))
            point = point.with_axis(axis, AxisIndex(loop.index))
            loops.append(loop)
        if self.shape:
            self._stripe_of_row(point, task.index)
        else:
            self._place(point)
        for loop in [*reversed(loops), task]:
            loop.close()
        builder.ret_void()

    def _stripe_of_row(self, point: Point, task: ir.Value) -> None:
        builder, extent = self.builder, i64(self.shape[-1])
        start = builder.mul(task, i64(self.stripe))
        end = builder.add(start, i64(self.stripe))
        stop = builder.select(builder.icmp_signed("<", end, extent), end, extent)
        loop = Loop(builder, start, stop, self.lanes)
        here = point.with_axis(self.last, AxisIndex(loop.index, linear=self.lanes > 1))
        if self.shape[-1] % self.lanes:
            left = self.context.emitter.broadcast(builder.trunc(builder.sub(stop, loop.index), I32), self.lanes)
            here = replace(here, mask=builder.icmp_signed("<", iota(self.lanes), left))
        self._place(replace(here, lanes=self.lanes))
        loop.close()

    def _place(self, point: Point) -> None:
        """Put the words of one point, or of a vector of them whose elements differ."""
        context, body = self.context, self.nest.kernel.body
        registers = context.registers(body, point)
        word = registers[body.results[0]]
        assert word is not None, "the result of a body is one of its registers"
        located = context.memory.locate(self.scatter.address, self.elements, point, registers)
        if point.lanes == 1 and located.open is not None:
            with self.builder.if_then(located.open):
                self._put(Located(located.place, None), point, word)
        else:
            self._put(located, point, word)

    def _put(self, located: Located, point: Point, word: Word) -> None:
        context, dtype = self.context, self.nest.kernel.outputs[0]
        if self.scatter.merge is not None:
            element = context.memory.load_at(dtype, context.outputs[0], located, point)
            (word,) = context.run(self.scatter.merge, context.origin(), accumulators=[element, word])
        context.memory.store_at(dtype, context.outputs[0], located, point, word)
