"""The order of an epoch in integer instructions; ``capture.steps.epochs`` says what it is."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tallystick.capture.lowerings.random import philox_block
from tallystick.capture.registry import lowers
from tallystick.capture.steps.batches import ORDER_SITE
from tallystick.capture.steps.epochs import APART, ODD, ROUNDS, block_of
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.ir.builder import Register
from tallystick.spec.tensors import DType

EPOCHS = 2  # that a batch may touch: it has no more rows than there are


@lowers(torch.ops.tallystick.epoch_order.default)
def epoch_order(ctx: Lowering, epoch: TensorView, place: TensorView, rows: int, low: int, high: int) -> TensorView:
    """The row at a place of an epoch. Shapes: (n,), (n,) -> (n,). Epochs are that of the first place or the next.

    Keys are made for those two epochs, not for every element.
    """

    def key(word: int) -> TensorView:
        def draw(b: Point) -> Register:
            first = b.read(epoch, [b.word(0)])
            counter = (b.iadd(first, b.index(0)), b.index(1), b.word(ORDER_SITE), b.word(APART))
            return philox_block(b, counter, (low, high))[word]

        return ctx.compute(DType.I32, [EPOCHS, ROUNDS], draw)

    keys = [key(word) for word in range(4)]
    for number in range(ROUNDS):

        def turned_and_mixed(b: Point, epoch_here: Register, x: Register, number: int = number) -> Register:
            at = [b.isub(epoch_here, b.read(epoch, [b.word(0)])), b.word(number)]
            turn, lower, upper, factor = (b.read(view, at) for view in keys)
            x = turned(b, x, b.umulhi(turn, b.word(rows)), rows)
            x = mixed(b, x, 0, rows, lambda y: b.imul(b.xor(y, lower), b.or_(factor, b.word(1))))
            first = rows - block_of(rows)[1]
            return mixed(b, x, first, rows, lambda y: b.imul(b.iadd(y, upper), b.word(ODD[0])))

        place = ctx.map(DType.I32, turned_and_mixed, epoch, place)
    return place


def turned(b: Point, x: Register, distance: Register, rows: int) -> Register:
    """(x + distance) % rows for two numbers below ``rows``: as unsigned words their sum does not overflow."""
    total = b.iadd(x, distance)
    return b.select(b.ult(total, b.word(rows)), total, b.isub(total, b.word(rows)))


def mixed(b: Point, x: Register, first: int, rows: int, keyed: Callable[[Register], Register]) -> Register:
    """Places from ``first`` on, a power of two of them, mixed among themselves; the others stay."""
    _, size, shift = block_of(rows)
    mask = b.word(size - 1)
    y = b.isub(x, b.word(first))
    inside = b.ult(y, b.word(size))  # unsigned: what lies before the first is far behind the last
    y = b.and_(keyed(y), mask)
    y = b.xor(y, b.lshr(y, b.word(shift)))
    y = b.and_(b.imul(y, b.word(ODD[1])), mask)
    y = b.xor(y, b.lshr(y, b.word(shift)))
    return b.select(inside, b.iadd(y, b.word(first)), x)
