"""The blocks of a fold: lanes take steps, merge pairwise, and block values merge in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import ceil

from llvmlite import ir

from tallystick.engine.accumulators import Accumulators
from tallystick.engine.emit import iota
from tallystick.engine.kernel_context import KernelContext, Known
from tallystick.engine.loops import Loop, i64
from tallystick.engine.points import Point
from tallystick.engine.rows import along, at_number
from tallystick.engine.tuning import arithmetic_instructions
from tallystick.engine.words import I32, lane_numbers, splat_constant

Values = list[ir.Value]
UNROLLED_INSTRUCTIONS = 160  # of a body repeated for every lane


class Blocks(ABC):
    """Emits the blocks of a fold for one point of its output axes (or a vector of them)."""

    def __init__(self, context: KernelContext, accumulators: Accumulators) -> None:
        self.context = context
        self.builder = context.builder
        self.accumulators = accumulators
        nest = context.nest
        assert nest.kernel.fold is not None, "only folds have blocks"
        self.fold = nest.kernel.fold
        self.body = nest.kernel.body
        self.steps = nest.reduce_points
        self.blocks = ceil(self.steps / self.fold.block)
        self.rest = self.steps % self.fold.lanes  # steps of the last block that fill no whole turn of all lanes
        self.reduce_axes = range(len(nest.out_shape), len(nest.extents))

    def total(self, point: Point) -> Values:
        """The accumulators after all blocks."""
        if self.blocks == 1:
            return self.block(point, i64(0))
        loop = Loop(self.builder, i64(0), i64(self.blocks), carried=self.accumulators.start(point.lanes))
        value = self.block(point, loop.index)
        merged = self.accumulators.merge(loop.carried, value, point.lanes)
        first = self.builder.icmp_signed("==", loop.index, i64(0))
        return loop.close([self.builder.select(first, v, m) for v, m in zip(value, merged, strict=True)])

    def block(self, point: Point, number: ir.Value) -> Values:
        """The accumulators of one block alone."""
        known = self.context.uniform(self.body, point, frozenset(self.reduce_axes), accumulators=True)
        if self.blocks == 1:
            return self.merged(self.all_lanes(point, known, i64(0), i64(self.steps), None), point.lanes)
        start = self.builder.mul(number, i64(self.fold.block))
        last = self.builder.icmp_signed("==", number, i64(self.blocks - 1))
        length = i64(self.steps - (self.blocks - 1) * self.fold.block)
        steps = self.builder.select(last, length, i64(self.fold.block))
        return self.merged(self.all_lanes(point, known, start, steps, last), point.lanes)

    @abstractmethod
    def all_lanes(self, point: Point, known: Known, start: ir.Value, steps: ir.Value, last: ir.Value | None) -> Values:
        """Every lane after the steps of a block. ``last`` tells whether it is the last one (None: the only one)."""

    @abstractmethod
    def merged(self, lanes: Values, width: int) -> Values:
        """The lanes merged pairwise into one set of accumulators."""

    def turns(self, steps: ir.Value) -> ir.Value:
        """How many times all lanes take a step."""
        return self.builder.udiv(steps, i64(self.fold.lanes))

    def if_last(self, last: ir.Value | None, emit: Callable[[], Values], otherwise: Values) -> Values:
        """Values computed in the last block only."""
        if last is None:
            return emit()
        before = self.builder.block
        with self.builder.if_then(last):
            computed = emit()
            inside = self.builder.block
        values: Values = []
        for value, other in zip(computed, otherwise, strict=True):
            phi = self.builder.phi(value.type)
            phi.add_incoming(value, inside)
            phi.add_incoming(other, before)
            values.append(phi)
        return values


class AcrossLanes(Blocks):
    """One output point; one vector is all lanes, and takes L consecutive reduce points at once."""

    def all_lanes(self, point: Point, known: Known, start: ir.Value, steps: ir.Value, last: ir.Value | None) -> Values:
        lanes = self.fold.lanes
        loop = Loop(self.builder, i64(0), self.turns(steps), carried=self.accumulators.start(lanes))
        at = self.builder.add(start, self.builder.mul(loop.index, i64(lanes)))
        values = loop.close(self._step(point, known, at, loop.carried))
        if not self.rest:
            return values

        def emit_rest() -> Values:
            mask = self.builder.icmp_unsigned("<", iota(lanes), splat_constant(I32, self.rest, lanes))
            masked = Point(point.axes, point.lanes, mask)
            stepped = self._step(masked, known, i64(self.steps - self.rest), values)
            return [self.builder.select(mask, new, old) for new, old in zip(stepped, values, strict=True)]

        return self.if_last(last, emit_rest, values)

    def _step(self, point: Point, known: Known, at: ir.Value, values: Values) -> Values:
        lanes = self.fold.lanes
        place = along(self.context, point, self.reduce_axes, self.context.nest.extents, at, lanes)
        words = self.context.run(self.body, place, known, self.accumulators.words(values))
        return self.accumulators.values(words, lanes)

    def merged(self, lanes: Values, width: int) -> Values:
        half = self.fold.lanes // 2
        while half:
            left, right = self._half(lanes, 0, half), self._half(lanes, half, half)
            lanes = self.accumulators.merge(left, right, half)
            half //= 2
        return lanes

    def _half(self, values: Values, first: int, count: int) -> Values:
        if count == 1:
            return [self.builder.extract_element(value, ir.Constant(I32, first)) for value in values]
        numbers = lane_numbers(tuple(range(first, first + count)))
        return [self.builder.shuffle_vector(v, ir.Constant(v.type, ir.Undefined), numbers) for v in values]


class AcrossOutputs(Blocks):
    """As many output points as the point has lanes; each of the fold's own lanes is a set of accumulators by itself."""

    def all_lanes(self, point: Point, known: Known, start: ir.Value, steps: ir.Value, last: ir.Value | None) -> Values:
        vectors = self.fold.lanes * len(self.accumulators) * max(point.lanes // self.context.target.lanes, 1)
        instructions = arithmetic_instructions(self.body) * self.fold.lanes
        if vectors > self.context.target.registers or instructions > UNROLLED_INSTRUCTIONS:
            return self._lanes_in_memory(point, known, start, steps)
        return self._lanes_in_registers(point, known, start, steps, last)

    def _step(self, point: Point, known: Known, at: ir.Value, values: Values) -> Values:
        place = at_number(self.context, point, self.reduce_axes, self.context.nest.extents, at)
        words = self.context.run(self.body, place, known, self.accumulators.words(values))
        return self.accumulators.values(words, point.lanes)

    def _lanes_in_registers(
        self, point: Point, known: Known, start: ir.Value, steps: ir.Value, last: ir.Value | None
    ) -> Values:
        lanes, count = self.fold.lanes, len(self.accumulators)
        loop = Loop(self.builder, i64(0), self.turns(steps), carried=self.accumulators.start(point.lanes) * lanes)
        at = self.builder.add(start, self.builder.mul(loop.index, i64(lanes)))
        values = loop.close(self._steps(point, known, at, lanes, loop.carried))

        def emit_rest() -> Values:
            return self._steps(point, known, i64(self.steps - self.rest), self.rest, values[: self.rest * count])

        if not self.rest:
            return values
        return self.if_last(last, emit_rest, values[: self.rest * count]) + values[self.rest * count :]

    def _steps(self, point: Point, known: Known, at: ir.Value, steps: int, values: Values) -> Values:
        """One step of each of the first lanes."""
        count = len(self.accumulators)
        after: Values = []
        for lane in range(steps):
            here = self.builder.add(at, i64(lane))
            after += self._step(point, known, here, values[lane * count : (lane + 1) * count])
        return after

    def _lanes_in_memory(self, point: Point, known: Known, start: ir.Value, steps: ir.Value) -> Values:
        lanes = self.fold.lanes
        arrays: Values = []
        with self.builder.goto_entry_block():
            for type in self.accumulators.types(point.lanes):
                array = self.builder.alloca(type, size=ir.Constant(I32, lanes))
                array.align = 64
                arrays.append(array)
        types = self.accumulators.types(point.lanes)

        def places(lane: ir.Value) -> Values:
            return [self.builder.gep(a, [lane], source_etype=t) for a, t in zip(arrays, types, strict=True)]

        for lane in range(lanes):
            for place, value in zip(places(i64(lane)), self.accumulators.start(point.lanes), strict=True):
                self.builder.store(value, place)
        loop = Loop(self.builder, i64(0), steps)
        at = places(self.builder.and_(loop.index, i64(lanes - 1)))
        values = [self.builder.load(place, typ=type) for place, type in zip(at, types, strict=True)]
        for place, value in zip(at, self._step(point, known, self.builder.add(start, loop.index), values), strict=True):
            self.builder.store(value, place)
        loop.close()
        loaded: Values = []
        for lane in range(lanes):
            at = places(i64(lane))
            loaded += [self.builder.load(place, typ=type) for place, type in zip(at, types, strict=True)]
        return loaded

    def merged(self, lanes: Values, width: int) -> Values:
        count, half = len(self.accumulators), self.fold.lanes // 2
        while half:
            merged: Values = []
            for lane in range(half):
                left, right = lane * count, (lane + half) * count
                merged += self.accumulators.merge(lanes[left : left + count], lanes[right : right + count], width)
            lanes = merged
            half //= 2
        return lanes
