"""Finishing a tile of a contraction: the fold's epilogue over vectors of columns, stored to the outputs.

A vector covers neighbours in one *run*: a stretch of columns along which every address of the epilogue advances evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from llvmlite import ir

from tallystick.engine.contraction import Contraction, Group
from tallystick.engine.emit import Emitter, float_accumulator, integer_word, iota
from tallystick.engine.gemm_control import advance, counted, i64, prefetch, smaller, splat
from tallystick.engine.gemm_run import EPILOGUE
from tallystick.engine.gemm_tiles import TileFormat
from tallystick.engine.kernel_context import Known
from tallystick.engine.kernel_function import load_operand
from tallystick.engine.loops import split_index
from tallystick.engine.memory_access import MemoryAccess
from tallystick.engine.nest import Nest, varying_registers
from tallystick.engine.points import AxisIndex, Point
from tallystick.engine.storage import MEMORY_TYPE
from tallystick.engine.target import Target
from tallystick.engine.words import F32, I32, I64, Word, constant_word, vector
from tallystick.spec.instructions import Code, Op
from tallystick.spec.views import Address


def epilogue_function(
    module: ir.Module,
    name: str,
    contraction: Contraction,
    target: Target,
    tiles: TileFormat,
) -> ir.Function:
    """``ptr epilogue(...)`` of type `EPILOGUE` for one tile."""
    function = ir.Function(module, EPILOGUE, name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    _Epilogue(builder, contraction, target, tiles).write()
    return function


class _Epilogue:
    """Writes the loops over a tile: runs of columns outside, rows inside."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        contraction: Contraction,
        target: Target,
        tiles: TileFormat,
    ) -> None:
        self.builder = builder
        self.contraction = contraction
        self.nest = contraction.nest
        self.kernel = contraction.nest.kernel
        self.code = contraction.fold.epilogue
        self.tiles = tiles
        self.emitter = Emitter(builder, target)
        self.memory = MemoryAccess(self.emitter, self.nest.extents)
        self.step, self.batch, self.row, self.rows, self.column, self.columns = builder.function.args[1:7]
        self.totals, self.early = builder.function.args[7:]
        slots = sorted({i.imm for i in self.code.instructions if i.op == Op.LOAD})
        self.tensors = {slot: load_operand(builder, slot) for slot in slots}
        count = len(self.kernel.loads)
        self.outputs = [load_operand(builder, count + number) for number in range(len(self.kernel.outputs))]
        self.strides = self.nest.out_strides + (0,) * len(self.nest.reduce_shape)
        self.run_axes = _even_axes(self.nest, self.code, contraction.columns, self.strides)
        self.run = prod(self.nest.extents[axis] for axis in self.run_axes)
        self.lanes = tiles.lanes
        self.everywhere = frozenset(range(len(self.code.instructions))) - varying_registers(
            self.code, self.nest, frozenset(contraction.rows.axes), accumulators=True
        )

    def write(self) -> None:
        builder, lanes = self.builder, self.lanes
        whole = Point((AxisIndex(i64(0)),) * len(self.nest.extents), lanes)
        whole = self._at(whole, self.contraction.batch.axes, self.contraction.batch.extents, self.batch)
        aligned = self.run == self.contraction.columns.size or self.run % lanes == 0
        place = builder.alloca(I64)
        builder.store(i64(0), place)
        head, body, done = (builder.append_basic_block(f"run.{part}") for part in ("head", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        offset = builder.load(place, typ=I64)
        builder.cbranch(builder.icmp_signed("<", offset, self.columns), body, done)
        builder.position_at_end(body)
        column = builder.add(self.column, offset)
        count = smaller(builder, builder.sub(self.columns, offset), i64(lanes))
        inside = column if self.run == self.contraction.columns.size else builder.urem(column, i64(self.run))
        if not aligned:
            count = smaller(builder, count, builder.sub(i64(self.run), inside))
        here = self._along(whole, column, inside)
        mask = builder.icmp_signed("<", iota(lanes), splat(builder, builder.trunc(count, I32), lanes))
        if self.emitter.target.isa == "avx512":
            self._columns(replace(here, mask=mask), offset)
        else:  # masked stores are slow, if there are any
            with builder.if_else(builder.icmp_signed("==", count, i64(lanes))) as (full, part):
                with full:
                    self._columns(here, offset)
                with part:
                    self._columns(replace(here, mask=mask), offset)
        builder.store(builder.add(offset, count), place)
        builder.branch(head)
        builder.position_at_end(done)
        builder.ret(self.totals)

    def _at(self, point: Point, axes: Sequence[int], extents: Sequence[int], number: ir.Value) -> Point:
        """A point with some axes at the indices of a row-major number."""
        if not axes:
            return point
        for axis, index in zip(axes, split_index(self.builder, number, extents), strict=True):
            point = point.with_axis(axis, AxisIndex(index))
        return point

    def _along(self, point: Point, column: ir.Value, inside: ir.Value) -> Point:
        """The columns from one on, all in one run. ``inside``: the first one's place in its run."""
        builder, columns = self.builder, self.contraction.columns
        kept = len(columns.axes) - len(self.run_axes)
        if kept:
            number = builder.udiv(column, i64(self.run))
            point = self._at(point, columns.axes[:kept], columns.extents[:kept], number)
        # The run's axes advance as one: the last one's index may go past its extent in the others' stead.
        return point.with_axis(self.run_axes[-1], AxisIndex(inside, linear=True))

    def _columns(self, point: Point, offset: ir.Value) -> None:
        """All rows of a vector of columns."""
        builder = self.builder
        sources = _Sources(self, point, None)
        everywhere = self.emitter.registers(self.code, sources, only=self.everywhere)
        rows = self.contraction.rows
        with counted(builder, i64(0), self.rows) as row:
            here = self._at(point, rows.axes, rows.extents, builder.add(self.row, row))
            with builder.if_else(self.early) as (early, late):
                with early:
                    self._announce(here)
                with late:
                    self._finish(here, everywhere, row, offset)

    def _announce(self, point: Point) -> None:
        """Ask for the memory that a vector will be stored to, and for what it alone will load."""
        places = [
            (output, dtype, Address(0, self.strides))
            for output, dtype in zip(self.outputs, self.kernel.outputs, strict=True)
        ]
        for slot, tensor in self.tensors.items():
            address = self.kernel.loads[slot].address
            if any(address.strides[axis] for axis in self.contraction.rows.axes) and address.strides[self.run_axes[-1]]:
                places.append((tensor, self.nest.slots[slot].dtype, replace(address, computed=(), guards=())))
        for tensor, dtype, address in places:
            place = self.memory.locate(address, 0, point, ()).place.scalar
            prefetch(self.builder, advance(self.builder, tensor, place, MEMORY_TYPE[dtype]))

    def _finish(self, point: Point, everywhere: Known, row: ir.Value, offset: ir.Value) -> None:
        """Run the epilogue on a vector and store what it yields."""
        builder = self.builder
        place = builder.add(builder.mul(row, i64(self.tiles.columns)), offset)
        total = builder.load(advance(builder, self.totals, place), align=4, typ=vector(F32, self.lanes))
        registers = self.emitter.registers(self.code, _Sources(self, point, total), known=everywhere)
        for output, dtype, result in zip(self.outputs, self.kernel.outputs, self.code.results, strict=True):
            word = registers[result]
            assert word is not None, "all registers of an epilogue are emitted"
            self.memory.store(dtype, output, self.strides, point, word)


class _Sources:
    """What an epilogue's source instructions yield at a vector of columns."""

    def __init__(self, epilogue: _Epilogue, point: Point, total: ir.Value | None) -> None:
        self.epilogue = epilogue
        self.point = point
        self.total = total

    def index(self, axis: int) -> Word:
        place = self.epilogue.nest.axis_place[axis]
        if place is None:
            return constant_word(0)
        builder = self.epilogue.builder
        index = self.point.axes[place]
        assert index.scalar is not None, "axes of a tile start at a scalar"
        number = builder.trunc(index.scalar, I32)
        if not index.linear:
            return integer_word(number)
        return integer_word(builder.add(splat(builder, number, self.point.lanes), iota(self.point.lanes)))

    def load(self, slot: int, registers: Sequence[Word | None]) -> Word:
        epilogue = self.epilogue
        view, type, tensor = epilogue.kernel.loads[slot], epilogue.nest.slots[slot], epilogue.tensors[slot]
        return epilogue.memory.load(view, type, tensor, self.point, registers)

    def accumulator(self, number: int) -> Word:
        assert number == 0, "a contraction has one accumulator"
        assert self.total is not None, "the total is read where a row is"
        return float_accumulator(self.total)

    def step(self) -> Word:
        return integer_word(self.epilogue.step)


def _even_axes(nest: Nest, code: Code, columns: Group, out_strides: tuple[int, ...]) -> tuple[int, ...]:
    """The last axes of the columns that outputs, loads and guards of a code all walk as one."""
    walks = [out_strides]
    for slot in {i.imm for i in code.instructions if i.op == Op.LOAD}:
        address = nest.kernel.loads[slot].address
        walks += [address.strides, *(guard.strides for guard in address.guards)]
    indexed = {nest.axis_place[i.imm] for i in code.instructions if i.op == Op.INDEX}
    last = columns.axes[-1]
    taken = [last]
    extent = columns.extents[-1]
    for axis, size in zip(columns.axes[-2::-1], columns.extents[-2::-1], strict=True):
        even = all(strides[axis] == strides[last] * extent for strides in walks)
        if not even or axis in indexed or taken[0] in indexed:
            break
        taken.insert(0, axis)
        extent *= size
    return tuple(taken)
