"""Pools as folds over windows, and their gradients as folds over the windows that an element lies in.

Shapes: x (N, C, H, W) or (C, H, W), y the same with (OH, OW). A pool with ``ceil_mode`` has windows that reach beyond
the padding; what lies outside x never counts.

For a gradient, an input place i + padding = q * stride + r lies in the windows o = q - j at the offset r + j * stride,
for j = 0, 1, ... as long as the offset is inside the window. With q and r as axes of their own everything is affine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch

from tallystick.capture.lowerings.convolution import all_axes, framed, require_floats, spatial_windows
from tallystick.capture.registry import lowers
from tallystick.capture.tensors.context import Lowering
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.ir.builder import Register
from tallystick.spec.tensors import DType

aten = torch.ops.aten
Sizes = Sequence[int]

NEGATIVE_INFINITY = 0xFF800000


@dataclass(frozen=True)
class Windows:
    """The geometry of a 2-d pool. All sizes are (vertical, horizontal)."""

    extents: Sizes  # of the input
    out: Sizes
    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes

    @property
    def pads(self) -> list[tuple[int, int]]:
        """What to add before and after each dimension so that exactly ``out`` windows fit."""
        return [
            (p, (o - 1) * s + (k - 1) * d + 1 - p - n)
            for n, o, k, s, p, d in zip(
                self.extents, self.out, self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        ]

    @property
    def reach(self) -> list[int]:
        """How many windows an element can lie in, per dimension."""
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        return [-(-span // s) for span, s in zip(spans, self.stride, strict=True)]

    @property
    def quotients(self) -> list[int]:
        """How many multiples of the stride the padded input spans, per dimension."""
        return [(n - 1 + p) // s + 1 for n, p, s in zip(self.extents, self.padding, self.stride, strict=True)]


def geometry(x: Sizes, out: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes = (1,)) -> Windows:
    """A pool's geometry from an operator's arguments; no stride means the kernel's."""
    kernel = all_axes(kernel, 2)
    return Windows(
        x[-2:], out[-2:], kernel, all_axes(stride, 2) if stride else kernel, all_axes(padding, 2), all_axes(dilation, 2)
    )


def four_dimensional(view: TensorView) -> TensorView:
    return view if view.rank == 4 else view.unsqueeze(0)


# MAXIMUM
@lowers(aten.max_pool2d_with_indices.default)
def max_pool2d_with_indices(
    ctx: Lowering,
    x: TensorView,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = (0,),
    dilation: Sizes = (1,),
    ceil_mode: bool = False,
) -> tuple[TensorView, TensorView]:
    """The largest element of each window and where it lies (y * W + x); the first of equals, NaN above all."""
    require_floats(ctx, x)
    shape = tuple(ctx.result[0].shape)
    w = geometry(x.shape, shape, kernel, stride, padding, dilation)
    windows = spatial_windows(four_dimensional(x), w.kernel, w.stride, w.pads, w.dilation, NEGATIVE_INFINITY)
    inside_everywhere = all(before == 0 and after <= 0 for before, after in w.pads)

    def body(b: Point, acc: Sequence[Register], x: Register) -> tuple[Register, Register]:
        row, column = (place(b, w, d, b.index(2 + d), b.index(4 + d)) for d in (0, 1))
        here = b.iadd(b.imul(row, b.word(w.extents[1])), column)
        # The first element inside is taken whatever it is, so that a window of -inf has a place.
        first = b.ilt(acc[1], b.word(0))
        takes = b.or_(b.or_(b.flt(acc[0], x), b.is_nan(x)), first)
        if not inside_everywhere:
            inside = [b.ult(at, b.word(n)) for at, n in zip((row, column), w.extents, strict=True)]
            takes = b.and_(takes, b.and_(*inside))
        return b.select(takes, x, acc[0]), b.select(takes, here, acc[1])

    order = (1, prod(w.kernel))  # one lane, one block: nothing is ever merged
    value, index = ctx.fold(
        [windows],
        [4, 5],
        [NEGATIVE_INFINITY, 0xFFFFFFFF],
        body,
        lambda b, left, right: left,
        [DType.F32, DType.I32],
        order,
    )
    return value.reshape(shape), index.reshape(shape)


@lowers(aten.max_pool2d_with_indices_backward.default)
def max_pool2d_with_indices_backward(
    ctx: Lowering,
    grad: TensorView,
    x: TensorView,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    indices: TensorView,
) -> TensorView:
    """Every element takes the gradients of the windows that chose it."""
    w = geometry(x.shape, grad.shape, kernel, stride, padding, dilation)
    reached = [covering(four_dimensional(view), w) for view in (grad, indices)]

    def chosen(b: Point, grad: Register, index: Register) -> Register:
        row, column = (covered_place(b, w, d) for d in (0, 1))
        here = b.iadd(b.imul(row, b.word(w.extents[1])), column)
        return b.select(b.ieq(index, here), grad, b.word(0))

    return gathered(ctx, reached, chosen, w, x.shape)


# MEAN
@lowers(aten.avg_pool2d.default)
def avg_pool2d(
    ctx: Lowering,
    x: TensorView,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> TensorView:
    require_floats(ctx, x)
    shape = tuple(ctx.result.shape)
    w = geometry(x.shape, shape, kernel, stride, padding)
    sums = ctx.sum(spatial_windows(four_dimensional(x), w.kernel, w.stride, w.pads, w.dilation), [4, 5])
    return divided(ctx, sums, w, count_include_pad, divisor_override).reshape(shape)


@lowers(aten.avg_pool2d_backward.default)
def avg_pool2d_backward(
    ctx: Lowering,
    grad: TensorView,
    x: TensorView,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> TensorView:
    """Every element takes its share from the windows it lies in."""
    w = geometry(x.shape, grad.shape, kernel, stride, padding)
    share = divided(ctx, four_dimensional(grad), w, count_include_pad, divisor_override)
    reached = inside_windows(ctx, covering(share, w), w)
    return gathered(ctx, [reached], lambda b, share: share, w, x.shape)


def divided(
    ctx: Lowering, sums: TensorView, w: Windows, count_include_pad: bool, divisor_override: int | None
) -> TensorView:
    """Sums over windows divided by how many elements each counts. Shape (N, C, OH, OW)."""

    def quotient(b: Point, x: Register) -> Register:
        if divisor_override is not None:
            return b.fdiv(x, b.float(divisor_override))
        counts = [counted(b, w, d, count_include_pad) for d in (0, 1)]
        return b.fdiv(x, b.i2f(b.imul(*counts)))

    return ctx.map(DType.F32, quotient, sums)


def counted(b: Point, w: Windows, d: int, with_padding: bool) -> Register:
    """How many places of a window count along one dimension: those inside x, or inside its padding too."""
    n, k, s, p = w.extents[d], w.kernel[d], w.stride[d], w.padding[d]
    margin = p if with_padding else 0
    fits = -p >= -margin and (w.out[d] - 1) * s - p + k <= n + margin
    if fits:
        return b.word(k)
    start = b.iadd(b.imul(b.index(2 + d), b.word(s)), b.word(-p))
    end = b.iadd(start, b.word(k))
    end = b.select(b.ilt(end, b.word(n + margin)), end, b.word(n + margin))
    start = b.select(b.ilt(start, b.word(-margin)), b.word(-margin), start)
    return b.isub(end, start)


# GEOMETRY
def place(b: Point, w: Windows, d: int, window: Register, offset: Register) -> Register:
    """The row (d = 0) or column of x at an offset of a window; outside of x in the padding."""
    start = b.imul(window, b.word(w.stride[d]))
    return b.iadd(b.iadd(start, b.imul(offset, b.word(w.dilation[d]))), b.word(-w.padding[d]))


def covering(view: TensorView, w: Windows) -> TensorView:
    """For every place of the padded input the elements of ``view`` whose windows could hold it, 0 where there is none.

    Shapes: (N, C, OH, OW) -> (N, C, QH, SH, QW, SW, JH, JW): place q * stride + r, window q - j.
    """
    for d in (0, 1):
        reach = w.reach[d]
        view = view.pad(2 + d, reach - 1, w.quotients[d] - w.out[d])
        view = view.windows(2 + d, reach)
    view = view.flip([4, 5])
    n, c, qh, qw, jh, jw = view.shape
    return view.reshape([n, c, qh, 1, qw, 1, jh, jw]).expand([n, c, qh, w.stride[0], qw, w.stride[1], jh, jw])


def covered_place(b: Point, w: Windows, d: int) -> Register:
    """The row (d = 0) or column of x that a place of ``covering`` is."""
    q, r = b.index(2 + 2 * d), b.index(3 + 2 * d)
    return b.iadd(b.iadd(b.imul(q, b.word(w.stride[d])), r), b.word(-w.padding[d]))


def inside_windows(ctx: Lowering, view: TensorView, w: Windows) -> TensorView:
    """A ``covering`` with 0 where the place lies behind the window's end."""

    def inside(b: Point, x: Register) -> Register:
        for d in (0, 1):
            if w.reach[d] * w.stride[d] > w.kernel[d]:
                offset = b.iadd(b.index(3 + 2 * d), b.imul(b.index(6 + d), b.word(w.stride[d])))
                x = b.select(b.ilt(offset, b.word(w.kernel[d])), x, b.word(0))
        return x

    return ctx.map(view.dtype, inside, view)


def gathered(
    ctx: Lowering, reached: Sequence[TensorView], term: Callable[..., Register], w: Windows, shape: Sizes
) -> TensorView:
    """Sum of a term over the windows of every place, cut to the input's shape."""
    (total,) = ctx.fold(
        reached,
        [6, 7],
        [0],
        lambda b, acc, *words: (b.fadd(acc[0], term(b, *words)),),
        lambda b, left, right: (b.fadd(left[0], right[0]),),
        [DType.F32],
        (1, prod(w.reach)),
    )
    n, c, qh, sh, qw, sw = total.shape
    return framed(total.reshape([n, c, qh * sh, qw * sw]), w.padding, w.extents).reshape(shape)
