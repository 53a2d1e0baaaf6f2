"""How matrix products are cut: everything is covered once, and memory stays within bounds."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tallystick.engine.gemm_blocking import Blocking, Cut, choose, unit_of
from tallystick.engine.gemm_tiles import PanelLayout, TileFormat
from tallystick.engine.target import Isa, Target

EXTENTS = st.one_of(st.integers(1, 300), st.integers(1, 70_000))
ISAS: list[Isa] = ["avx512", "avx2", "baseline"]


@st.composite
def blockings(draw: st.DrawFn) -> Blocking:
    tiles = TileFormat.of(Target(draw(st.sampled_from(ISAS))))
    steps = draw(EXTENTS)
    block = min(steps, draw(st.sampled_from([1, 5, 16, 512, 513, 4096])))
    layouts = (
        draw(st.sampled_from([None, PanelLayout(7, 1, False)])),
        draw(st.sampled_from([None, PanelLayout(1, 9, False)])),
    )
    pitch = draw(st.sampled_from([None, 48]))
    return choose(tiles, draw(EXTENTS), draw(EXTENTS), draw(st.sampled_from([1, 2, 64])), steps, block, layouts, pitch)


def tile_extents(tiles: TileFormat, cut: Cut, block: int) -> list[int]:
    """What generated code makes of a block: rows evenly, columns whole tiles first."""
    extent = cut.start(tiles, block + 1) - cut.start(tiles, block)
    count = -(-extent // unit_of(tiles, cut.side))
    if cut.side == "rows":
        edges = [tile * extent // count for tile in range(count + 1)]
    else:
        edges = [min(tile * tiles.columns, extent) for tile in range(count + 1)]
    return [stop - start for start, stop in pairwise(edges)]


@given(blockings())
def test_blocks_cover_both_sides_and_no_tile_is_unknown(blocking: Blocking) -> None:
    tiles = blocking.tiles
    for cut in (blocking.slow, blocking.fast):
        assert cut.start(tiles, 0) == 0
        assert cut.start(tiles, cut.blocks) == cut.extent
        known = cut.tile_sizes(tiles)
        for block in {0, cut.blocks // 2, cut.blocks - 1}:
            found = tile_extents(tiles, cut, block)
            assert set(found) <= known
            assert 0 < len(found) <= cut.most_tiles(tiles)
            assert all(0 < size <= unit_of(tiles, cut.side) for size in found)


@given(blockings())
def test_chunks_end_where_chains_end(blocking: Blocking) -> None:
    """A chunk boundary inside a chain is allowed only where there is one chain, which goes on from its total."""
    assert blocking.block >= blocking.steps or blocking.chunk % blocking.block == 0


@given(blockings())
def test_memory_is_bounded(blocking: Blocking) -> None:
    longest = max(512, blocking.chunk)
    assert blocking.scratch_bytes <= 16 * 2**20 * longest // 512
    assert blocking.shared_bytes <= 200 * 2**20 * longest // 512


def test_a_large_product_is_many_tasks_and_a_small_one_is_one() -> None:
    tiles = TileFormat.of(Target("avx512"))
    assert choose(tiles, 2048, 2048, 1, 2048, 512).tasks >= 16
    assert choose(tiles, 20, 30, 1, 40, 40).tasks == 1
    assert choose(tiles, 128, 128, 64, 32, 32).tasks == 64


def test_large_products_of_few_tiles_are_still_shared() -> None:
    """A weight gradient: few outputs, many steps. Idle threads cost more than panels read again."""
    tiles = TileFormat.of(Target("avx512"))
    assert choose(tiles, 192, 192, 1, 2080, 512).tasks >= 4
    assert choose(tiles, 96, 384, 1, 2048, 512).tasks >= 4
    assert choose(tiles, 30, 30, 1, 40, 40).tasks == 1


def test_what_is_read_where_it_lies_takes_no_memory() -> None:
    tiles = TileFormat.of(Target("avx512"))
    direct = PanelLayout(2048, 1, False), PanelLayout(1, 2048, False)
    blocking = choose(tiles, 2048, 2048, 1, 2048, 512, direct, 2048)
    assert (blocking.scratch_bytes, blocking.shared_bytes, blocking.pack_tasks) == (0, 0, 0)
    assert blocking.tasks >= 16
