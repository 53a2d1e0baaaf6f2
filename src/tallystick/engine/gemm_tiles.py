"""Register tiles: the innermost loops of a GEMM, one function per tile shape and per way in which operands lie.

A tile is ``rows`` x ``vectors * lanes`` elements of the result held in vector registers. Per reduce step it broadcasts
a word of A for each of its rows and loads ``vectors`` vectors of B. Packed panels hold these words in the order in
which they are read; an operand that lies well as it is, is read where it lies.

Each element is one chain of fused multiply-adds in ascending k from +0: what a fold of one lane computes in a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from llvmlite import ir

from tallystick.engine.gemm_control import POINTER, advance, i64, prefetch, splat
from tallystick.engine.target import Target
from tallystick.engine.words import F32, I32, I64

Side = Literal["rows", "columns"]
Fma = Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value], ir.Value]
Finish = Callable[[ir.IRBuilder, ir.Value], ir.Value]

LINE = 16  # words of a cache line
SOON = 8  # steps: time for a line to come from the second-level cache to the first
FRESH = 0  # the chain starts at +0, its end is stored
MERGE = 1  # the chain starts at +0, its end is added to the total already there
CONTINUE = 2  # the chain goes on from the value already there

MICROKERNEL = ir.FunctionType(ir.VoidType(), [I64, POINTER, POINTER, POINTER, I32])


@dataclass(frozen=True, slots=True)
class PanelLayout:
    """Where the words of a tile's rows or columns lie: words from one to the next, and from step to step.

    ``packed``: in a panel that was made for it, at the start of a cache line; else in the operand's own memory.
    """

    index_stride: int
    step_stride: int
    packed: bool


@dataclass(frozen=True, slots=True)
class TileFormat:
    """The largest tile of an instruction set, and the pitch of packed panels, in words.

    ``rows`` x ``vectors`` accumulators, ``vectors`` words of B and one broadcast of A fill the register file.
    """

    lanes: int
    rows: int
    vectors: int
    row_pitch: int

    @property
    def columns(self) -> int:
        return self.lanes * self.vectors

    @property
    def nbytes(self) -> int:
        """Of a tile in memory: rows of ``columns`` words."""
        return self.rows * self.columns * 4

    def packed(self, side: Side) -> PanelLayout:
        """The layout of panels that are packed."""
        return PanelLayout(1, self.row_pitch if side == "rows" else self.columns, True)

    @staticmethod
    def of(target: Target) -> TileFormat:
        if target.lanes == 16:
            return TileFormat(lanes=16, rows=14, vectors=2, row_pitch=16)
        if target.lanes == 8:
            return TileFormat(lanes=8, rows=6, vectors=2, row_pitch=8)
        return TileFormat(lanes=target.lanes, rows=4, vectors=2, row_pitch=4)


@dataclass(frozen=True, slots=True)
class TileShape:
    """What a register tile is made for. ``pitch``: words from row to row of a result that is written in place; None for
    a tile of totals, which a cache line starts and whose pitch is the format's columns."""

    rows: int
    vectors: int
    a: PanelLayout
    b: PanelLayout
    pitch: int | None

    @property
    def name(self) -> str:
        place = "" if self.pitch is None else f".{self.pitch}"
        ways = [f"{way.index_stride}.{way.step_stride}" for way in (self.a, self.b) if not way.packed]
        sides = ("a" if not self.a.packed else "") + ("b" if not self.b.packed else "")
        return ".".join([f"gemm.tile.{self.rows}x{self.vectors}", sides, *ways]) + place


def microkernel(module: ir.Module, tiles: TileFormat, shape: TileShape, fma: Fma, finish: Finish) -> ir.Function:
    """``void tile(i64 steps, ptr a, ptr b, ptr total, i32 mode)`` for a tile of some shape.

    ``finish`` makes of a vector of sums what is stored in place.
    """
    known = module.globals.get(shape.name)
    if known is not None:
        return known
    function = ir.Function(module, MICROKERNEL, shape.name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    for argument in function.args[1:4]:
        argument.add_attribute("noalias")
    _Tile(function, tiles, shape, fma, finish).write()
    return function


class _Tile:
    """Writes a register tile."""

    def __init__(self, function: ir.Function, tiles: TileFormat, shape: TileShape, fma: Fma, finish: Finish) -> None:
        self.function, self.tiles, self.shape, self.fma, self.finish = function, tiles, shape, fma, finish
        self.steps, self.a, self.b, self.total, self.mode = function.args
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.vector = ir.VectorType(F32, tiles.lanes)
        self.places = [(row, number) for row in range(shape.rows) for number in range(shape.vectors)]
        self.pitch = tiles.columns if shape.pitch is None else shape.pitch
        self.align = 64 if shape.pitch is None else 4

    def write(self) -> None:
        builder, function = self.builder, self.function
        zero = ir.Constant(self.vector, [0.0] * self.tiles.lanes)
        entry, resume, loop, end = (
            builder.block,
            function.append_basic_block("resume"),
            function.append_basic_block("loop"),
            function.append_basic_block("end"),
        )
        # START
        builder.cbranch(builder.icmp_unsigned("==", self.mode, ir.Constant(I32, CONTINUE)), resume, loop)
        builder.position_at_end(resume)
        resumed = self._load_totals()
        builder.branch(loop)
        # LOOP
        builder.position_at_end(loop)
        step = builder.phi(I64, "k")
        step.add_incoming(i64(0), entry)
        step.add_incoming(i64(0), resume)
        sums = [builder.phi(self.vector) for _ in self.places]
        for value, start in zip(sums, resumed, strict=True):
            value.add_incoming(zero, entry)
            value.add_incoming(start, resume)
        following = self._step(step, sums)
        next_step = builder.add(step, i64(1))
        step.add_incoming(next_step, builder.block)
        for value, next_value in zip(sums, following, strict=True):
            value.add_incoming(next_value, builder.block)
        builder.cbranch(builder.icmp_signed("<", next_step, self.steps), loop, end)
        # END
        builder.position_at_end(end)
        self._store(following)
        builder.ret_void()

    def _place(self, row: int, number: int) -> ir.Value:
        return advance(self.builder, self.total, i64(row * self.pitch + number * self.tiles.lanes), F32)

    def _load_totals(self) -> list[ir.Value]:
        return [self.builder.load(self._place(*place), align=self.align, typ=self.vector) for place in self.places]

    def _step(self, step: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        """The sums after one more multiply-add each."""
        builder, shape, lanes = self.builder, self.shape, self.tiles.lanes
        a_step = advance(builder, self.a, builder.mul(step, i64(shape.a.step_stride)), F32)
        b_step = advance(builder, self.b, builder.mul(step, i64(shape.b.step_stride)), F32)
        b_align = 64 if shape.b.packed else 4
        b_words = [
            builder.load(advance(builder, b_step, i64(number * lanes), F32), align=b_align, typ=self.vector)
            for number in range(shape.vectors)
        ]
        following: list[ir.Value] = []
        for row in range(shape.rows):
            word = builder.load(advance(builder, a_step, i64(row * shape.a.index_stride), F32), align=4, typ=F32)
            wide = splat(builder, word, lanes)
            first = row * shape.vectors
            following += [self.fma(builder, wide, b, sums[first + number]) for number, b in enumerate(b_words)]
        if not shape.a.packed:
            self._foresee_rows(step)
        if not shape.b.packed:
            for number in range(shape.vectors):
                self._foresee(b_step, number * lanes + SOON * shape.b.step_stride)
        return following

    def _foresee_rows(self, step: ir.Value) -> None:
        """Ask for rows that are read where they lie.

        Rows that lie together are wanted a few steps later, and steps may be so far apart that no processor follows
        them by itself. Rows that are streams of their own it does follow, but not into the next tile's, of which every
        step asks for another one's line.
        """
        builder, rows, way = self.builder, self.shape.rows, self.shape.a
        if way.index_stride == 1:
            soon = advance(builder, self.a, builder.mul(builder.add(step, i64(SOON)), i64(way.step_stride)), F32)
            for row in sorted({0, rows - 1}):  # which may be in two lines
                self._foresee(soon, row)
            return
        row = builder.add(builder.and_(step, i64(LINE - 1)), i64(rows))
        place = builder.add(builder.mul(row, i64(way.index_stride)), builder.and_(step, i64(-LINE)))
        prefetch(builder, advance(builder, self.a, place, F32))

    def _foresee(self, pointer: ir.Value, words: int) -> None:
        prefetch(self.builder, advance(self.builder, pointer, i64(words), F32), level=1)

    def _store(self, sums: list[ir.Value]) -> None:
        """Store the sums, or what they make of the totals that are there."""
        builder, end = self.builder, self.builder.block
        merging, storing = (self.function.append_basic_block(name) for name in ("merge", "store"))
        builder.cbranch(builder.icmp_unsigned("==", self.mode, ir.Constant(I32, MERGE)), merging, storing)
        builder.position_at_end(merging)
        merged = [builder.fadd(old, new) for old, new in zip(self._load_totals(), sums, strict=True)]
        builder.branch(storing)
        builder.position_at_end(storing)
        values: list[ir.Value] = []
        for both, alone in zip(merged, sums, strict=True):
            value = builder.phi(self.vector)
            value.add_incoming(both, merging)
            value.add_incoming(alone, end)
            values.append(value)
        for place, value in zip(self.places, values, strict=True):
            stored = value if self.shape.pitch is None else self.finish(builder, value)
            builder.store(stored, self._place(*place), align=self.align)
