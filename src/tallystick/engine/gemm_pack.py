"""Packing: copying a part of an operand into panels that the register tiles read in order.

A panel holds, for each step k, the words of one tile's rows (or columns) side by side. A packer is a function

    ptr pack(ptr operand, i64 variant, i64 first, i64 limit, i64 tiles, i64 tile_lo, i64 tile_hi,
             i64 k, i64 steps, ptr panels)

that fills the panels of tiles tile_lo..tile_hi-1 of the ``tiles`` tiles that panel indices first..limit-1 are cut into,
and returns where they begin: at ``panels``, or, if an operand need not be packed, in the operand itself.
Rows are cut evenly; columns into whole widths with a short last one. Every panel takes ``steps`` rounded up to a
multiple of the lanes, and what lies between is arbitrary. ``variant`` is the batch or the stride, as the packer likes.

There are two ways to fill a panel: *along* it, where neighbours in the panel are neighbours in memory, and *across* it,
where neighbouring steps are, by transposing squares in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar

from llvmlite import ir

from tallystick.engine.gemm_control import POINTER, advance, counted, i64, reserve, round_up, smaller, zeros
from tallystick.engine.gemm_tiles import Side, TileFormat
from tallystick.engine.words import F32, I64, lane_numbers, vector

Over = Literal["panel", "steps"]  # what runs over the lanes of a vector that is read
PACK = ir.FunctionType(POINTER, [POINTER, *[I64] * 8, POINTER])


PANELS_ABREAST = 4  # of a plain matrix
STEPS_AHEAD = 16  # how far ahead of a copy memory is asked for

L = TypeVar("L")
S = TypeVar("S")


class Source(Protocol[L, S]):
    """Where the words of an operand come from. One of panel index and step runs over lanes, the other is single."""

    def prepare(self, start: ir.Value, stop: ir.Value) -> None:
        """Announce the singles that will be asked for next."""
        ...

    def single(self, index: ir.Value) -> S:
        """What a single contributes to addresses. Panel indices past the stop that was announced are clamped."""
        ...

    def lanes(self, start: ir.Value, stop: ir.Value) -> L:
        """What the lanes start, start+1, .. contribute; those from ``stop`` on are closed."""
        ...

    def load(self, lanes: L, single: S) -> ir.Value:
        """A vector of words, as floats."""
        ...

    def foresee(self, start: ir.Value, index: ir.Value) -> None:
        """Ask for the memory of the lanes from ``start`` on of a single that will be loaded soon, if that helps."""
        ...


def tile_count(builder: ir.IRBuilder, tiles: TileFormat, side: Side, extent: ir.Value) -> ir.Value:
    """How many tiles an extent is cut into."""
    unit = tiles.rows if side == "rows" else tiles.columns
    return builder.udiv(builder.add(extent, i64(unit - 1)), i64(unit))


def tile_start(
    builder: ir.IRBuilder, tiles: TileFormat, side: Side, extent: ir.Value, count: ir.Value, tile: ir.Value
) -> ir.Value:
    """Where a tile starts in an extent; tile number ``count`` starts at its end."""
    if side == "rows":
        return builder.udiv(builder.mul(tile, extent), count)
    return smaller(builder, builder.mul(tile, i64(tiles.columns)), extent)


def pitch_of(tiles: TileFormat, side: Side) -> int:
    """Words per step in a panel."""
    return tiles.row_pitch if side == "rows" else tiles.columns


class PackFrame:
    """The arguments of a packer and the loop over its tiles."""

    def __init__(self, builder: ir.IRBuilder, tiles: TileFormat, side: Side, arguments: Sequence[ir.Value]) -> None:
        """``arguments``: those of a packer from ``first`` on."""
        self.first, self.limit, self.tiles, self.tile_lo, self.tile_hi, self.k, self.steps, self.panels = arguments
        self.builder = builder
        self.format = tiles
        self.side: Side = side
        self.pitch = pitch_of(tiles, side)
        self.used = tiles.rows if side == "rows" else self.pitch

    def place(self, tile: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """First index, end, and panel of a tile."""
        builder = self.builder
        extent = builder.sub(self.limit, self.first)
        start = tile_start(builder, self.format, self.side, extent, self.tiles, tile)
        stop = tile_start(builder, self.format, self.side, extent, self.tiles, builder.add(tile, i64(1)))
        panel_words = builder.mul(round_up(builder, self.steps, self.format.lanes), i64(self.pitch))
        number = builder.sub(tile, self.tile_lo)
        panel = advance(builder, self.panels, builder.mul(number, panel_words))
        return builder.add(self.first, start), builder.add(self.first, stop), panel


def pack_along(frame: PackFrame, source: Source[L, S], abreast: int) -> None:
    """Fill panels whose neighbours are neighbours in memory: a vector copy per step.

    So many panels are filled ``abreast``, so that every step reads a long piece of memory at once.
    """
    builder, lanes = frame.builder, frame.format.lanes
    end = builder.add(frame.k, frame.steps)
    source.prepare(frame.k, end)
    last = builder.sub(frame.tile_hi, i64(1))
    with counted(builder, frame.tile_lo, frame.tile_hi, abreast) as tile:
        # Past the last tile it is filled once more: simpler than leaving it out, and no slower.
        places = [frame.place(smaller(builder, builder.add(tile, i64(i)), last)) for i in range(abreast)]
        starts = [builder.add(start, i64(o)) for start, _, _ in places for o in range(0, frame.pitch, lanes)]
        stops = [stop for _, stop, _ in places for _ in range(0, frame.pitch, lanes)]
        groups = [source.lanes(start, stop) for start, stop in zip(starts, stops, strict=True)]
        with counted(builder, frame.k, end) as k:
            single = source.single(k)
            words = iter([source.load(group, single) for group in groups])
            for start in starts:
                source.foresee(start, builder.add(k, i64(STEPS_AHEAD)))
            offset = builder.mul(builder.sub(k, frame.k), i64(frame.pitch))
            for _, _, panel in places:
                for number in range(0, frame.pitch, lanes):
                    place = builder.add(offset, i64(number))
                    builder.store(next(words), advance(builder, panel, place), align=4 * lanes)
    builder.ret(frame.panels)


def pack_across(frame: PackFrame, source: Source[L, S]) -> None:
    """Fill panels whose steps are neighbours in memory: squares of lanes x lanes words, transposed in registers."""
    builder, lanes = frame.builder, frame.format.lanes
    end = builder.add(frame.k, frame.steps)
    with counted(builder, frame.tile_lo, frame.tile_hi) as tile:
        start, stop, panel = frame.place(tile)
        source.prepare(start, stop)
        with counted(builder, i64(0), builder.sub(stop, start), lanes) as offset:
            first = builder.add(start, offset)
            singles = [source.single(builder.add(first, i64(i))) for i in range(min(lanes, frame.used))]
            with counted(builder, i64(0), frame.steps, lanes) as k:
                along = source.lanes(builder.add(frame.k, k), end)
                square = [source.load(along, single) for single in singles]
                for i in range(len(singles)):  # of the tile after this one
                    source.foresee(builder.add(frame.k, k), builder.add(first, i64(frame.used + i)))
                place = builder.add(builder.mul(k, i64(frame.pitch)), offset)
                _store_transposed(builder, square, advance(builder, panel, place), frame.pitch)
    builder.ret(frame.panels)


def pack_across_by_squares(frame: PackFrame, source: Source[L, S]) -> None:
    """The same for sources that take much code to read: row by row to memory, transposed by a shared function."""
    builder, lanes = frame.builder, frame.format.lanes
    end = builder.add(frame.k, frame.steps)
    rows = reserve(builder, ir.ArrayType(F32, frame.pitch * lanes), align=64)
    # Rows past a tile's last are multiplied, too, though nobody reads the products: what the stack holds would do, were
    # it not that some processors slow down tenfold and more where numbers are below the normal ones.
    for number in range(frame.pitch):
        builder.store(zeros(vector(F32, lanes)), advance(builder, rows, i64(number * lanes)), align=4 * lanes)
    turn = _turn_function(builder.module, frame.format, frame.side)
    with counted(builder, frame.tile_lo, frame.tile_hi) as tile:
        start, stop, panel = frame.place(tile)
        source.prepare(start, stop)
        with counted(builder, i64(0), frame.steps, lanes) as k:
            along = source.lanes(builder.add(frame.k, k), end)
            with counted(builder, start, stop) as index:
                place = builder.mul(builder.sub(index, start), i64(lanes))
                builder.store(source.load(along, source.single(index)), advance(builder, rows, place), align=4 * lanes)
            into = advance(builder, panel, builder.mul(k, i64(frame.pitch)))
            builder.call(turn, [rows, into, builder.sub(stop, start)])
    builder.ret(frame.panels)


def _turn_function(module: ir.Module, tiles: TileFormat, side: Side) -> ir.Function:
    """``void turn(ptr rows, ptr panel, i64 count)``: count rows of ``lanes`` words to columns of a panel."""
    name = f"gemm.turn.{side}"
    known = module.globals.get(name)
    if known is not None:
        return known
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64]), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    function.attributes.add("noinline")
    rows, panel, count = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    lanes = tiles.lanes
    with counted(builder, i64(0), count, lanes) as offset:
        first = advance(builder, rows, builder.mul(offset, i64(lanes)))
        square = [
            builder.load(advance(builder, first, i64(i * lanes)), align=4 * lanes, typ=vector(F32, lanes))
            for i in range(min(lanes, tiles.rows) if side == "rows" else lanes)
        ]
        _store_transposed(builder, square, advance(builder, panel, offset), pitch_of(tiles, side))
    builder.ret_void()
    return function


def _store_transposed(builder: ir.IRBuilder, rows: list[ir.Value], place: ir.Value, pitch: int) -> None:
    """Vectors as columns, ``pitch`` words from one word of a vector to the next."""
    lanes = rows[0].type.count
    square = rows + [ir.Constant(rows[0].type, ir.Undefined)] * (lanes - len(rows))
    for i, column in enumerate(transposed(builder, square)):
        builder.store(column, advance(builder, place, i64(i * pitch)), align=4 * lanes)


def transposed(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """The transpose of a square of vectors.

    First 4x4 squares are transposed inside the 128-bit quarters of every four vectors, which x86 interleaves at one
    instruction each; then the quarters themselves change places.
    """
    lanes = len(rows)

    def shuffle(a: ir.Value, b: ir.Value, picks: list[int]) -> ir.Value:
        return builder.shuffle_vector(a, b, lane_numbers(tuple(picks)))

    for base in range(0, lanes, 4):
        rows[base : base + 4] = turned_fours(builder, rows[base : base + 4])
    quarters = lanes // 4
    result: list[ir.Value] = [rows[0]] * lanes
    for word in range(4):
        column = [rows[4 * group + word] for group in range(quarters)]
        for quarter, moved in enumerate(_transposed_quarters(shuffle, column)):
            result[4 * quarter + word] = moved
    return result


def turned_fours(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Four vectors with the 4x4 squares in their 128-bit quarters transposed."""
    lanes = rows[0].type.count

    def shuffle(a: ir.Value, b: ir.Value, picks: list[int]) -> ir.Value:
        """A pattern over the words of one quarter of a (0..3) and of b (4..7), for every quarter."""
        words = [quarter + (pick if pick < 4 else lanes + pick - 4) for quarter in range(0, lanes, 4) for pick in picks]
        return builder.shuffle_vector(a, b, lane_numbers(tuple(words)))

    low, high, first, second = [0, 4, 1, 5], [2, 6, 3, 7], [0, 1, 4, 5], [2, 3, 6, 7]
    a, b, c, d = rows
    ab, cd = shuffle(a, b, low), shuffle(c, d, low)
    ab_high, cd_high = shuffle(a, b, high), shuffle(c, d, high)
    return [
        shuffle(ab, cd, first),
        shuffle(ab, cd, second),
        shuffle(ab_high, cd_high, first),
        shuffle(ab_high, cd_high, second),
    ]


def _transposed_quarters(
    shuffle: Callable[[ir.Value, ir.Value, list[int]], ir.Value], vectors: list[ir.Value]
) -> list[ir.Value]:
    """Vectors of n quarters each, n of them, with quarter q of vector g moved to quarter g of vector q."""
    count = len(vectors)
    if count == 1:
        return vectors

    def words(quarters: list[int]) -> list[int]:
        return [4 * quarter + word for quarter in quarters for word in range(4)]

    if count == 2:
        a, b = vectors
        return [shuffle(a, b, words([0, 2])), shuffle(a, b, words([1, 3]))]
    assert count == 4, "vectors have 1, 2 or 4 quarters"
    a, b, c, d = vectors
    even_ab, odd_ab = shuffle(a, b, words([0, 2, 4, 6])), shuffle(a, b, words([1, 3, 5, 7]))
    even_cd, odd_cd = shuffle(c, d, words([0, 2, 4, 6])), shuffle(c, d, words([1, 3, 5, 7]))
    first, last = words([0, 2, 4, 6]), words([1, 3, 5, 7])
    return [
        shuffle(even_ab, even_cd, first),
        shuffle(odd_ab, odd_cd, first),
        shuffle(even_ab, even_cd, last),
        shuffle(odd_ab, odd_cd, last),
    ]
