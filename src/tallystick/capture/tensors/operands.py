"""Operands of pointwise operators: which dtype they are computed in, and Python numbers among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import fx
from torch._prims_common import ELEMENTWISE_TYPE_PROMOTION_KIND, elementwise_dtypes

from tallystick.capture.dtypes import FLOATS, storage_dtype
from tallystick.capture.tensors.context import Lowering, constant_word
from tallystick.capture.tensors.points import Point
from tallystick.capture.tensors.views import TensorView
from tallystick.ir.builder import Register
from tallystick.spec.tensors import DType

Number = bool | int | float
Operand = TensorView | Number
Scalar = Callable[..., Register]


def promoted(ctx: Lowering, positions: Sequence[int] = (0, 1)) -> DType:
    """The dtype PyTorch brings these arguments of the operator to before it computes."""
    assert ctx.node is not None, "an operator is being lowered"
    arguments = [ctx.node.args[i] for i in positions]
    values = [argument.meta["val"] if isinstance(argument, fx.Node) else argument for argument in arguments]
    kind = ELEMENTWISE_TYPE_PROMOTION_KIND.DEFAULT
    return storage_dtype(elementwise_dtypes(*values, type_promotion_kind=kind)[1])


def result_dtype(ctx: Lowering) -> DType:
    """The storage type of the operator's result."""
    return storage_dtype(ctx.result.dtype)


def pointwise(ctx: Lowering, function: Scalar, *operands: Operand, compute: DType | None = None) -> TensorView:
    """function(point, word of each operand) with every operand brought to one dtype first.

    ``compute``: that dtype; the result's if None. Python numbers become constants, rounded once from double precision.
    """
    dtype = result_dtype(ctx)
    wanted = dtype if compute is None else compute
    views = [operand for operand in operands if isinstance(operand, TensorView)]

    def element(point: Point, *words: Register) -> Register:
        following = iter(words)
        arguments = [
            converted(point, next(following), operand.dtype, wanted)
            if isinstance(operand, TensorView)
            else point.word(constant_word(wanted, operand))
            for operand in operands
        ]
        return function(point, *arguments)

    return fitted(ctx.map(dtype, element, *views), ctx)


def fitted(view: TensorView, ctx: Lowering) -> TensorView:
    """Broadcast to the result's shape, which is larger only if an operand has no elements or no tensor has."""
    return view if view.shape == tuple(ctx.result.shape) else view.expand(ctx.result.shape)


def converted(point: Point, word: Register, source: DType, target: DType) -> Register:
    """A word of one dtype as a number of another, before it is narrowed to it.

    Floats are cut to integers towards zero and saturate; NaN gives 0.
    """
    if target is source or (source in FLOATS and target in FLOATS):
        return word
    if target is DType.BOOL:
        return point.not_(point.feq(word, point.float(0.0))) if source in FLOATS else point.truth(word)
    if target in FLOATS:
        return point.i2f(word)
    return point.f2i(word) if source in FLOATS else word


def cast(ctx: Lowering, view: TensorView, dtype: DType) -> TensorView:
    """The tensor in another dtype."""
    if view.dtype is dtype:
        return view
    return ctx.map(dtype, lambda b, x: converted(b, x, view.dtype, dtype), view)
