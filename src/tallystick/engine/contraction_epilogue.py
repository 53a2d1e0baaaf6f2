"""Finishing a tile of a contraction: the fold's epilogue over vectors of columns, stored to the outputs.

A vector covers neighbours in one *run*: a stretch of columns along which every address of the epilogue advances evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from llvmlite import ir

from tallystick.engine.contraction import Contraction, Group
from tallystick.engine.emit import Emitter, float_accumulator, integer_word, iota
from tallystick.engine.gemm_control import advance, counted, i64, smaller, splat
from tallystick.engine.gemm_run import EPILOGUE
from tallystick.engine.gemm_tiles import TileFormat
from tallystick.engine.kernel_function import load_operand
from tallystick.engine.loops import split_index
from tallystick.engine.memory_access import MemoryAccess
from tallystick.engine.nest import dense_strides
from tallystick.engine.points import AxisIndex, Point
from tallystick.engine.target import Target
from tallystick.engine.words import I32, I64, Word, vector
from tallystick.spec.instructions import Code, Op
from tallystick.spec.kernels import Kernel
from tallystick.spec.tensors import TensorType


def epilogue_function(
    module: ir.Module,
    name: str,
    contraction: Contraction,
    value_types: Sequence[TensorType],
    target: Target,
    tiles: TileFormat,
) -> ir.Function:
    """``void epilogue(...)`` of type `EPILOGUE` for one tile."""
    function = ir.Function(module, EPILOGUE, name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    _Epilogue(builder, contraction, value_types, target, tiles).write()
    return function


class _Epilogue:
    """Writes the loops over a tile: runs of columns outside, rows inside."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        contraction: Contraction,
        value_types: Sequence[TensorType],
        target: Target,
        tiles: TileFormat,
    ) -> None:
        self.builder = builder
        self.contraction = contraction
        self.kernel = contraction.kernel
        self.code = contraction.fold.epilogue
        self.value_types = value_types
        self.tiles = tiles
        self.emitter = Emitter(builder, target)
        extents = self.kernel.out_shape + self.kernel.reduce_shape
        self.access = MemoryAccess(self.emitter, extents)
        self.step, self.batch, self.row, self.rows, self.column, self.columns, self.totals = builder.function.args[1:]
        slots = sorted({i.imm for i in self.code.instructions if i.op == Op.LOAD})
        self.tensors = {slot: load_operand(builder, slot) for slot in slots}
        count = len(self.kernel.loads)
        self.outputs = [load_operand(builder, count + number) for number in range(len(self.kernel.outputs))]
        self.strides = (*dense_strides(self.kernel.out_shape), *(0 for _ in self.kernel.reduce_shape))
        self.run_axes = _even_axes(self.kernel, self.code, contraction.columns, self.strides)
        self.run = prod(extents[axis] for axis in self.run_axes)
        self.in_rows = _in_rows(self.code, self.kernel, contraction.rows)

    def write(self) -> None:
        builder, lanes = self.builder, self.tiles.lanes
        axes = [AxisIndex(i64(0))] * (len(self.kernel.out_shape) + len(self.kernel.reduce_shape))
        whole = Point(tuple(axes), lanes)
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
        self._columns(self._along(whole, column, inside, count), offset)
        builder.store(builder.add(offset, count), place)
        builder.branch(head)
        builder.position_at_end(done)
        builder.ret_void()

    def _at(self, point: Point, axes: Sequence[int], extents: Sequence[int], number: ir.Value) -> Point:
        """A point with some axes at the indices of a row-major number."""
        if not axes:
            return point
        for axis, index in zip(axes, split_index(self.builder, number, extents), strict=True):
            point = point.with_axis(axis, AxisIndex(index))
        return point

    def _along(self, point: Point, column: ir.Value, inside: ir.Value, count: ir.Value) -> Point:
        """The columns from one on, ``count`` of them, all in one run. ``inside``: the first one's place in its run."""
        builder, columns = self.builder, self.contraction.columns
        kept = len(columns.axes) - len(self.run_axes)
        if kept:
            number = builder.udiv(column, i64(self.run))
            point = self._at(point, columns.axes[:kept], columns.extents[:kept], number)
        # The run's axes advance as one: the last one's index may go past its extent in the others' stead.
        point = point.with_axis(self.run_axes[-1], AxisIndex(inside, linear=True))
        mask = builder.icmp_signed(
            "<", iota(self.tiles.lanes), splat(builder, builder.trunc(count, I32), self.tiles.lanes)
        )
        return Point(point.axes, point.lanes, mask)

    def _columns(self, point: Point, offset: ir.Value) -> None:
        """All rows of a vector of columns."""
        builder = self.builder
        sources = _Sources(self, point, None)
        everywhere = self.emitter.registers(
            self.code, sources, only=[n for n in range(len(self.code.instructions)) if n not in self.in_rows]
        )
        rows = self.contraction.rows
        with counted(builder, i64(0), self.rows, i64(1), "row") as row:
            here = self._at(point, rows.axes, rows.extents, builder.add(self.row, row))
            place = builder.add(builder.mul(row, i64(self.tiles.columns)), offset)
            total = builder.load(
                advance(builder, self.totals, place), align=4, typ=vector(self.emitter_float, self.tiles.lanes)
            )
            registers = self.emitter.registers(self.code, _Sources(self, here, total), known=everywhere)
            for output, dtype, result in zip(self.outputs, self.kernel.outputs, self.code.results, strict=True):
                word = registers[result]
                assert word is not None, "all registers of an epilogue are emitted"
                self.access.store(dtype, output, self.strides, here, word)

    @property
    def emitter_float(self) -> ir.Type:
        return ir.FloatType()


class _Sources:
    """What an epilogue's source instructions yield at a vector of columns."""

    def __init__(self, epilogue: _Epilogue, point: Point, total: ir.Value | None) -> None:
        self.epilogue = epilogue
        self.point = point
        self.total = total

    def index(self, axis: int) -> Word:
        builder = self.epilogue.builder
        index = self.point.axes[axis]
        assert index.scalar is not None, "axes of a tile start at a scalar"
        number = builder.trunc(index.scalar, I32)
        if not index.linear:
            return integer_word(number)
        return integer_word(builder.add(splat(builder, number, self.point.lanes), iota(self.point.lanes)))

    def load(self, slot: int, registers: Sequence[Word | None]) -> Word:
        view = self.epilogue.kernel.loads[slot]
        type = self.epilogue.value_types[view.value]
        return self.epilogue.access.load(view, type, self.epilogue.tensors[slot], self.point, registers)

    def accumulator(self, number: int) -> Word:
        assert number == 0, "a contraction has one accumulator"
        assert self.total is not None, "the total is read where a row is"
        return float_accumulator(self.total)

    def step(self) -> Word:
        return integer_word(self.epilogue.step)


def _addresses(kernel: Kernel, code: Code) -> list[tuple[int, ...]]:
    """Strides of all addresses and guards that a code uses."""
    rows: list[tuple[int, ...]] = []
    for slot in {i.imm for i in code.instructions if i.op == Op.LOAD}:
        address = kernel.loads[slot].address
        rows += [address.strides, *(guard.strides for guard in address.guards)]
    return rows


def _even_axes(kernel: Kernel, code: Code, columns: Group, out_strides: tuple[int, ...]) -> tuple[int, ...]:
    """The last axes of the columns that outputs, loads and guards of a code all walk as one."""
    rows = [out_strides, *_addresses(kernel, code)]
    indexed = {i.imm for i in code.instructions if i.op == Op.INDEX}
    taken = [columns.axes[-1]]
    extent = columns.extents[-1]
    for axis, size in zip(columns.axes[-2::-1], columns.extents[-2::-1], strict=True):
        inner = taken[-1]
        even = all(strides[axis] == strides[columns.axes[-1]] * extent for strides in rows)
        if not even or axis in indexed or inner in indexed:
            break
        taken.append(axis)
        extent *= size
    return tuple(reversed(taken))


def _in_rows(code: Code, kernel: Kernel, rows: Group) -> frozenset[int]:
    """Registers that may differ from row to row: those that need the total, a row's index or an element of a row."""
    found: set[int] = set()
    for number, instruction in enumerate(code.instructions):
        match instruction.op:
            case Op.ACC:
                varies = True
            case Op.INDEX:
                varies = instruction.imm in rows.axes
            case Op.LOAD:
                address = kernel.loads[instruction.imm].address
                walks = [address.strides, *(guard.strides for guard in address.guards)]
                varies = any(strides[axis] for strides in walks for axis in rows.axes)
                varies = varies or any(register in found for _, register in address.computed)
            case _:
                varies = any(register in found for register in instruction.args)
        if varies:
            found.add(number)
    return frozenset(found)
