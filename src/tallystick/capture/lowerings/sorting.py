"""Sorting: by counting who comes before whom in short rows, by a network of exchanges in long ones.

Both sort pairs of an integer key and an index, of which no two are equal, so there is one right order: that of the
keys, and of equal keys the one they came in. NaN is above everything; zeros of both signs are equal.
"""

from __future__ import annotations

import torch

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.ir.builder import Register
from tallystick.spec.tensors import DType

aten = torch.ops.aten

COUNTED = 256  # elements of a row up to which every pair of them is compared
LAST = 0x7FFFFFFF  # a key above those of all numbers; NaN has 0x7FC00000


@lowers(aten.sort.default)
def sort(ctx: Lowering, x: TensorView, dim: int = -1, descending: bool = False) -> tuple[TensorView, TensorView]:
    """The elements of each row in order, and where they were."""
    if x.rank == 0 or x.shape[x.dim(dim)] == 1:
        return x, ctx.word(DType.I32, 0, x.shape)
    rows = x.transpose(dim, -1)
    keys = ctx.map(DType.I32, lambda b, word: key_of(b, word, x.dtype in FLOATS, descending), rows)
    if rows.shape[-1] <= COUNTED:
        values, places = placed_by_rank(ctx, rows, ranks(ctx, keys))
    else:
        places = sorted_by_exchanges(ctx, keys)
        last = rows.rank - 1
        values = ctx.map(x.dtype, lambda b, at: b.read(rows, [*(b.index(d) for d in range(last)), at]), places)
    return values.transpose(dim, -1), places.transpose(dim, -1)


@lowers(aten.sort.stable)
def sort_stable(
    ctx: Lowering, x: TensorView, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[TensorView, TensorView]:
    return sort(ctx, x, dim, descending)


def key_of(b: Point, word: Register, is_float: bool, descending: bool) -> Register:
    """An integer that orders as the number does, or against it."""
    if is_float:
        word = b.fadd(word, b.float(0.0))  # -0 becomes 0
        word = b.xor(word, b.lshr(b.ashr(word, b.word(31)), b.word(1)))
    return b.xor(word, b.word(0xFFFFFFFF)) if descending else word


# SHORT ROWS
def ranks(ctx: Lowering, keys: TensorView) -> TensorView:
    """How many elements of its row come before each one. Shapes: (..., n) -> (..., n)."""
    last = keys.rank - 1
    mine, other = keys.unsqueeze(last + 1), keys.unsqueeze(last)
    shape = [*keys.shape, keys.shape[-1]]

    def count(b: Point, acc: tuple[Register, ...], mine: Register, other: Register) -> tuple[Register, ...]:
        earlier = b.ilt(b.index(last + 1), b.index(last))
        before = b.or_(b.ilt(other, mine), b.and_(b.ieq(other, mine), earlier))
        return (b.iadd(acc[0], before),)

    (rank,) = ctx.fold(
        [mine.expand(shape), other.expand(shape)],
        [last + 1],
        [0],
        count,
        lambda b, left, right: (b.iadd(left[0], right[0]),),
        [DType.I32],
    )
    return rank


def placed_by_rank(ctx: Lowering, rows: TensorView, rank: TensorView) -> tuple[TensorView, TensorView]:
    last = rows.rank - 1

    def own_row(b: Point, at: Register) -> list[Register]:
        return [*(b.index(d) for d in range(last)), at]

    values = ctx.scatter(rows.shape, rows.dtype, 0, [rows, rank], lambda b, word, at: (own_row(b, at), word))
    places = ctx.scatter(rows.shape, DType.I32, 0, [rank], lambda b, at: (own_row(b, at), b.index(last)))
    return values, places


# LONG ROWS
def sorted_by_exchanges(ctx: Lowering, keys: TensorView) -> TensorView:
    """The place every element of the sorted rows comes from, by bitonic merging (Batcher 1968).

    Rows grow to a power of two with keys that come last. Shapes: (..., n) -> (..., n).
    """
    *outer, extent = keys.shape
    full = 1 << (extent - 1).bit_length()
    last = keys.rank - 1
    places = ctx.compute(DType.I32, (full,), lambda b: b.index(0)).expand([*outer, full])
    keys = keys.pad(last, 0, full - extent, LAST)
    run = 2
    while run <= full:
        distance = run // 2
        while distance:
            keys, places = exchanged(ctx, keys, places, run, distance)
            distance //= 2
        run *= 2
    return places.slice(last, 0, extent)


def exchanged(
    ctx: Lowering, keys: TensorView, places: TensorView, run: int, distance: int
) -> tuple[TensorView, TensorView]:
    """Elements ``distance`` apart, in order: upwards in every other run, downwards in those between."""
    *outer, full = keys.shape
    split = [*outer, full // (2 * distance), 2, distance]
    pair = len(outer) + 1
    keys, places = keys.materialised().reshape(split), places.materialised().reshape(split)
    operands = [keys, places, keys.flip([pair]), places.flip([pair])]

    def takes_other(b: Point, key: Register, place: Register, other: Register, other_place: Register) -> Register:
        before = b.or_(b.ilt(other, key), b.and_(b.ieq(other, key), b.ilt(other_place, place)))
        run_number = b.lshr(b.index(pair - 1), b.word((run // (2 * distance)).bit_length() - 1))
        downwards = b.and_(run_number, b.word(1)) if run < full else b.word(0)
        return b.xor(before, b.xor(b.index(pair), downwards))

    def choose(first: int):
        return lambda b, *words: b.select(takes_other(b, *words), words[first + 2], words[first])

    whole = [*outer, full]
    keys, places = (ctx.map(DType.I32, choose(first), *operands).reshape(whole) for first in (0, 1))
    return keys, places
