"""Probabilities of paths, summed as they go on; ``capture.tracing.ctc`` says what for."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.capture.tracing.ctc import IMPOSSIBLE
from tallystick.ir import elementary
from tallystick.ir.builder import Register, float_word
from tallystick.spec.tensors import DType


@lowers(torch.ops.tallystick.running_paths.default)
def running_paths(ctx: Lowering, emitted: TensorView, one: TensorView, two: TensorView) -> TensorView:
    """Logarithms: x[t] = log(exp(x[t - 1]) + exp(one[t]) + exp(two[t])) + emitted[t]. Shapes: (N, T) each."""

    def body(b: Point, acc: Sequence[Register], emitted: Register, one: Register, two: Register) -> tuple[Register]:
        most = b.select(b.flt(acc[0], one), one, acc[0])
        most = b.select(b.flt(most, two), two, most)
        base = b.select(b.feq(most, b.float(IMPOSSIBLE)), b.float(0.0), most)
        first, second, third = (elementary.exp(b, b.fsub(part, base)) for part in (acc[0], one, two))
        total = b.fadd(b.fadd(first, second), third)
        return (b.fadd(b.fadd(elementary.log(b, total), base), emitted),)

    (paths,) = ctx.scan([emitted, one, two], 1, [float_word(IMPOSSIBLE)], body, [DType.F32])
    return paths
