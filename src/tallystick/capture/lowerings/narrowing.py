"""Rounding at random; see ``tallystick.capture.steps.narrowing``."""

from __future__ import annotations

import torch

import tallystick.capture.steps.narrowing  # noqa: F401 - it defines the operators lowered here
from tallystick.capture.lowerings.random import philox_block
from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.rounding import CANONICAL_NAN
from tallystick.capture.tensors.views import TensorView
from tallystick.capture.tracing.random import seed_words
from tallystick.ir.builder import Register
from tallystick.spec.tensors import DType


@lowers(torch.ops.tallystick.round_stochastic.default)
def round_stochastic(ctx: Lowering, x: TensorView, step: TensorView, seed: int, site: int) -> TensorView:
    """Element i takes the upper half of word 0 of block i."""

    def element(b: Point, x: Register) -> Register:
        number = b.word(0)
        for d, extent in enumerate(ctx.result.shape):
            number = b.iadd(b.imul(number, b.word(extent)), b.index(d))
        drawn = philox_block(b, (number, b.step(), b.word(site), b.word(0)), seed_words(seed))[0]
        cut = b.and_(b.iadd(x, b.lshr(drawn, b.word(16))), b.word(0xFFFF0000))
        return b.select(b.feq(x, x), cut, b.word(CANONICAL_NAN))

    return ctx.map(DType.BF16, element, x)
