"""What generating one phase function of a kernel needs at hand."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from tallystick.engine.emit import Emitter, integer_word, iota
from tallystick.engine.kernel_function import declare_phase, load_operand
from tallystick.engine.loops import i64
from tallystick.engine.memory_access import MemoryAccess
from tallystick.engine.nest import Nest, varying_registers
from tallystick.engine.points import AxisIndex, Point
from tallystick.engine.target import Target
from tallystick.engine.words import I32, Word, constant_word
from tallystick.spec.instructions import Code

Known = Sequence[Word | None]


class KernelContext:
    """One phase function under construction: its builder, its operands, and the nest it computes."""

    def __init__(self, module: ir.Module, name: str, nest: Nest, target: Target) -> None:
        self.function = declare_phase(module, name)
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.nest = nest
        self.kernel = nest.kernel
        self.target = target
        self.emitter = Emitter(self.builder, target)
        self.memory = MemoryAccess(self.emitter, nest.extents)
        loads, outputs = len(self.kernel.loads), len(self.kernel.outputs)
        self.inputs = [load_operand(self.builder, slot) for slot in range(loads)]
        self.outputs = [load_operand(self.builder, loads + number) for number in range(outputs)]
        _, self.task_lo, self.task_hi, self.step, self.shared, self.scratch = self.function.args

    def load_base(self) -> ir.Value:
        """The pointer to a scatter's base value."""
        return load_operand(self.builder, len(self.kernel.loads) + len(self.kernel.outputs))

    def origin(self) -> Point:
        """The point where every index is 0."""
        return Point((AxisIndex(i64(0)),) * len(self.nest.extents))

    def uniform(self, code: Code, point: Point, axes: frozenset[int], accumulators: bool = False) -> Known:
        """The registers of a code that do not vary along some axes, emitted here; the others are None."""
        varying = varying_registers(code, self.nest, axes, accumulators)
        only = frozenset(range(len(code.instructions))) - varying
        return self.emitter.registers(code, PointSources(self, point), only=only)

    def run(
        self, code: Code, point: Point, known: Known | None = None, accumulators: Sequence[Word] = ()
    ) -> list[Word]:
        """The result words of a code at a point."""
        registers = self.registers(code, point, known, accumulators)
        return [word for word in (registers[r] for r in code.results) if word is not None]

    def registers(
        self, code: Code, point: Point, known: Known | None = None, accumulators: Sequence[Word] = ()
    ) -> list[Word | None]:
        """Every register of a code at a point."""
        return self.emitter.registers(code, PointSources(self, point, accumulators), known)

    def store_all(self, point: Point, words: Sequence[Word], strides: Sequence[int]) -> None:
        """Store one word per output where dense strides over all axes lead."""
        for dtype, tensor, word in zip(self.kernel.outputs, self.outputs, words, strict=True):
            self.memory.store(dtype, tensor, strides, point, word)


class PointSources:
    """What a code sees at one point of its kernel's loops."""

    def __init__(self, context: KernelContext, point: Point, accumulators: Sequence[Word] = ()) -> None:
        self._context = context
        self._point = point
        self._accumulators = accumulators

    def index(self, axis: int) -> Word:
        place = self._context.nest.axis_place[axis]
        if place is None:
            return constant_word(0)
        index, builder = self._point.axes[place], self._context.builder
        if index.wide is not None:
            return integer_word(index.wide)
        assert index.scalar is not None, "an index is scalar, linear or wide"
        word = builder.trunc(index.scalar, I32)
        if index.linear:
            lanes = self._point.lanes
            word = builder.add(self._context.emitter.broadcast(word, lanes), iota(lanes))
        return integer_word(word)

    def load(self, slot: int, registers: Sequence[Word | None]) -> Word:
        context = self._context
        view = context.kernel.loads[slot]
        return context.memory.load(view, context.nest.slots[slot], context.inputs[slot], self._point, registers)

    def accumulator(self, number: int) -> Word:
        return self._accumulators[number]

    def step(self) -> Word:
        return integer_word(self._context.step)
