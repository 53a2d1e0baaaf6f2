"""How a GEMM is cut into tasks and what memory that takes.

One side of the result is *slow*, the other *fast*. A task is a block of the slow side against a block (mostly all) of
the fast side, for all steps. It packs its block of the slow operand, a chunk of steps at a time, small enough to stay
in the second-level cache while panels of the fast operand stream past. The fast operand is packed once for all tasks by
a phase of its own, or, where that gains nothing, by each task. Operands that are read where they lie are not packed.
"""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.engine.gemm_pack import pitch_of
from tallystick.engine.gemm_tiles import PanelLayout, Side, TileFormat

CHUNK = 512  # steps packed at once, if blocks are not longer
SLOW_WORDS = 128 * 1024  # of a packed slow block: 512 KiB
FAST_WORDS = 512 * 1024  # of a fast block that each task packs
TOTAL_WORDS = 256 * 1024  # of totals kept between chunks
SHARED_WORDS = 32 * 1024 * 1024  # most that one kernel may pack in advance: 128 MiB
SLOW_ALONE = 1024  # extent of a slow block where every task has to pack its fast block itself
ENOUGH_TASKS = 16
FEW_TASKS = 4  # that there should be even if reuse suffers: idle threads cost more,
FEW_WORK = 1 << 23  # if there are so many multiply-adds: handing panels from core to core costs, too
SMALL_TASK = 1 << 20  # multiply-adds that are worth a task
REUSE = {"rows": 4, "columns": 2}  # tiles of a slow block, so that a fast panel is not read too often
NEAR_WORDS = 128 * 1024  # of a fast operand that stays in the second-level cache; of larger ones twice the reuse
PACK_GROUP = 4  # panels in a task of the packing phase


@dataclass(frozen=True, slots=True)
class Cut:
    """One side: its extent cut into blocks, and blocks into tiles."""

    side: Side
    extent: int
    blocks: int

    def start(self, tiles: TileFormat, block: int) -> int:
        """Where a block starts: rows anywhere, columns at whole tiles."""
        if self.side == "rows":
            return block * self.extent // self.blocks
        panels = -(-self.extent // tiles.columns)
        return min(self.extent, block * panels // self.blocks * tiles.columns)

    def tiles_in(self, tiles: TileFormat, block: int) -> int:
        extent = self.start(tiles, block + 1) - self.start(tiles, block)
        return -(-extent // unit_of(tiles, self.side))

    def most_tiles(self, tiles: TileFormat) -> int:
        """In any block."""
        return max(self.tiles_in(tiles, block) for block in range(self.blocks))

    def tile_sizes(self, tiles: TileFormat) -> set[int]:
        """Every size of tile that occurs, in rows or columns."""
        sizes: set[int] = set()
        for block in range(self.blocks):
            extent = self.start(tiles, block + 1) - self.start(tiles, block)
            count = self.tiles_in(tiles, block)
            if self.side == "rows":
                sizes |= {extent // count, -(-extent // count)}
            else:
                sizes |= {min(tiles.columns, extent), extent - (count - 1) * tiles.columns}
        return sizes


def unit_of(tiles: TileFormat, side: Side) -> int:
    """The largest tile of a side."""
    return tiles.rows if side == "rows" else tiles.columns


@dataclass(frozen=True, slots=True)
class Blocking:
    """All sizes of one GEMM.

    ``in_advance``: the fast operand is packed by a phase of its own; ``rows`` and ``columns``: how panels lie;
    ``pitch``: words from row to row of a result that is written in place, None for one that is not.
    """

    tiles: TileFormat
    slow: Cut
    fast: Cut
    batches: int
    steps: int
    block: int
    chunk: int
    in_advance: bool
    rows: PanelLayout
    columns: PanelLayout
    pitch: int | None

    def layout(self, side: Side) -> PanelLayout:
        return self.rows if side == "rows" else self.columns

    @property
    def chunks(self) -> int:
        return -(-self.steps // self.chunk)

    @property
    def tasks(self) -> int:
        return self.batches * self.slow.blocks * self.fast.blocks

    @property
    def pack_groups(self) -> int:
        """Tasks of the packing phase per chunk and fast block."""
        return -(-self.fast.most_tiles(self.tiles) // PACK_GROUP)

    @property
    def pack_tasks(self) -> int:
        return self.batches * self.chunks * self.fast.blocks * self.pack_groups if self.in_advance else 0

    def panel_bytes(self, side: Side) -> int:
        """Of one tile's panel for one chunk, if it is packed."""
        if not self.layout(side).packed:
            return 0
        return pitch_of(self.tiles, side) * -(-self.chunk // self.tiles.lanes) * self.tiles.lanes * 4

    @property
    def slow_bytes(self) -> int:
        return self.slow.most_tiles(self.tiles) * self.panel_bytes(self.slow.side)

    @property
    def fast_bytes(self) -> int:
        """Of a packed fast block, one chunk."""
        return self.fast.most_tiles(self.tiles) * self.panel_bytes(self.fast.side)

    @property
    def totals_bytes(self) -> int:
        """Of the totals kept between chunks; one tile if there is only one chunk."""
        if self.pitch is not None:
            return 0
        kept = 1 if self.chunks == 1 else self.slow.most_tiles(self.tiles) * self.fast.most_tiles(self.tiles)
        nbytes = kept * self.tiles.nbytes + self.tiles.columns * 4  # vectors may be read across a tile's end
        return -(-nbytes // 64) * 64

    @property
    def scratch_bytes(self) -> int:
        return self.totals_bytes + self.slow_bytes + (0 if self.in_advance else self.fast_bytes)

    @property
    def shared_bytes(self) -> int:
        return self.batches * self.chunks * self.fast.blocks * self.fast_bytes if self.in_advance else 0


def choose(
    tiles: TileFormat,
    rows: int,
    columns: int,
    batches: int,
    steps: int,
    block: int,
    layouts: tuple[PanelLayout | None, PanelLayout | None] = (None, None),
    pitch: int | None = None,
) -> Blocking:
    """Cut a GEMM of the given extents. ``block``: steps in one chain of fused multiply-adds; ``layouts``: of rows and
    columns that need not be packed; ``pitch``: of a result that is written in place.
    """
    a, b = layouts[0] or tiles.packed("rows"), layouts[1] or tiles.packed("columns")
    chunk = block * max(1, CHUNK // block) if block < steps else min(steps, CHUNK)
    slow_side: Side = "rows" if rows >= columns else "columns"
    slow, fast = (rows, columns) if slow_side == "rows" else (columns, rows)
    fast_side: Side = "columns" if slow_side == "rows" else "rows"
    # SLOW: few enough blocks for the fast panels to be reused, enough for threads to share
    unit = unit_of(tiles, slow_side)
    slow_tiles = -(-slow // unit)
    reuse = REUSE[slow_side] * (1 if fast * steps <= NEAR_WORDS else 2)
    work = batches * slow * fast * steps
    few = FEW_TASKS // batches if work >= FEW_WORK else 1
    most = max(slow_tiles // reuse, min(few, slow_tiles))
    wanted = min(work // SMALL_TASK, -(-ENOUGH_TASKS // batches), most)
    least = -(-slow_tiles // max(1, SLOW_WORDS // chunk // unit))
    blocks = min(power_of_two(max(wanted, 1)), slow_tiles)
    while blocks < least:
        blocks = min(2 * blocks, slow_tiles)
    # FAST
    padded = -(-fast // unit_of(tiles, fast_side)) * pitch_of(tiles, fast_side)
    ready = not (a if fast_side == "rows" else b).packed
    in_advance = not ready and blocks > 1 and batches * padded * steps <= SHARED_WORDS
    if not in_advance and not ready:
        blocks = min(blocks, -(-slow // SLOW_ALONE))
    several = chunk < steps
    most = fast if in_advance or ready else max(unit_of(tiles, fast_side), FAST_WORDS // chunk)
    if several:
        most = min(most, max(unit_of(tiles, fast_side), TOTAL_WORDS // max(1, -(-slow // blocks))))
    fast_blocks = min(-(-fast // most), -(-fast // unit_of(tiles, fast_side)))
    cuts = Cut(slow_side, slow, blocks), Cut(fast_side, fast, fast_blocks)
    return Blocking(tiles, *cuts, batches, steps, block, chunk, in_advance, a, b, pitch)


def power_of_two(number: int) -> int:
    """The largest power of two up to a number."""
    return 1 << number.bit_length() - 1
