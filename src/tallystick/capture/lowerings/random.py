"""Philox4x32-10 in integer instructions; ``capture.tracing.random`` says what is drawn and how it is counted."""

from __future__ import annotations

import torch

from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.capture.tracing.random import MULTIPLIERS, ROUNDS, WEYL, seed_words
from tallystick.ir.builder import CodeBuilder, Register
from tallystick.spec.tensors import DType


@lowers(torch.ops.tallystick.philox.default)
def philox(ctx: Lowering, step: TensorView, blocks: int, seed: int, site: int) -> tuple[TensorView, ...]:
    """Four tensors of numbers in [0, 1), one element of each per block. Shapes: step (1,) -> (blocks,) each."""

    def number(word: int) -> TensorView:
        def draw(b: Point) -> Register:
            counter = (b.index(0), b.step(), b.word(site), b.word(0))
            drawn = philox_block(b, counter, seed_words(seed))[word]
            return b.fmul(b.i2f(b.lshr(drawn, b.word(8))), b.float(2.0**-24))

        return ctx.compute(DType.F32, [blocks], draw)

    return tuple(number(word) for word in range(4))


def philox_block(
    b: CodeBuilder, counter: tuple[Register, Register, Register, Register], key: tuple[int, int]
) -> tuple[Register, Register, Register, Register]:
    """The four words of one block."""
    w0, w1, w2, w3 = counter
    for number in range(ROUNDS):
        k0, k1 = (b.word(key[i] + number * WEYL[i]) for i in range(2))
        m0, m1 = (b.word(multiplier) for multiplier in MULTIPLIERS)
        w0, w1, w2, w3 = (
            b.xor(b.xor(b.umulhi(m1, w2), w1), k0),
            b.imul(m1, w2),
            b.xor(b.xor(b.umulhi(m0, w0), w3), k1),
            b.imul(m0, w0),
        )
    return w0, w1, w2, w3
