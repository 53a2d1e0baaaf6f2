"""What a lowering function is given: ways to describe tensors point by point.

Shapes and dimensions here are logical ones, as PyTorch counts them; the loop axes behind them are found here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from torch import fx

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.tensors.affine import Bound, identity
from tallystick.capture.tensors.axes import Axes
from tallystick.capture.tensors.broadcast import aligned, broadcast_shape
from tallystick.capture.tensors.graph import FoldSpec, Map, Node, Scatter, TensorGraph
from tallystick.capture.tensors.points import Point, dim_forms
from tallystick.capture.tensors.rounding import round_bfloat16, round_float16
from tallystick.capture.tensors.views import TensorView, whole
from tallystick.ir.builder import CodeBuilder, Register, float_word
from tallystick.spec.limits import COMPUTED
from tallystick.spec.tensors import DType

MapFunction = Callable[..., Register]
Words = tuple[Register, ...]

CONTRACTION_BLOCK = 512
NOWHERE = 0x80000000  # as an index: drops the word
COLUMN_ORDER = (1, 512)  # lanes, block
ROW_ORDER = (16, 2048)


class Lowering:
    """One lowering in progress. ``node`` is the FX node being lowered; ``result`` its fake result (or a tuple)."""

    def __init__(self, graph: TensorGraph) -> None:
        self.graph = graph
        self.node: fx.Node | None = None

    @property
    def result(self) -> Any:
        """The fake tensor (shape and dtype) that PyTorch says the operator returns, or a tuple of them."""
        assert self.node is not None, "an operator is being lowered"
        return self.node.meta["val"]

    @property
    def line(self) -> str:
        """The user's line being lowered, for errors."""
        assert self.node is not None, "an operator is being lowered"
        return self.node.meta.get("source") or str(self.node.target)

    # SOURCES
    def word(self, dtype: DType, word: int, shape: Sequence[int] = ()) -> TensorView:
        """A tensor with the same word everywhere."""
        point = self._point(())
        return self._map_node(dtype, point, point.word(word), ()).expand(shape)

    def full(self, dtype: DType, value: float, shape: Sequence[int] = ()) -> TensorView:
        """A tensor with the same number everywhere, rounded to the dtype."""
        return self.word(dtype, constant_word(dtype, value), shape)

    # MAPS
    def map(self, dtype: DType, function: MapFunction, *operands: TensorView) -> TensorView:
        """function(point, element of each operand) at every point of the shape the operands broadcast to.

        The function returns the element's word: a binary32 for float dtypes, an integer for the others. It is rounded
        or cut as the dtype needs; for bool every word that is not 0 is true.
        """
        shape = broadcast_shape([operand.shape for operand in operands])
        views = aligned(operands, shape)
        dims = views[0].dims if views else ()
        point = self._point(dims)
        return self._map_node(dtype, point, function(point, *self._elements(views)), dims)

    def compute(self, dtype: DType, shape: Sequence[int], function: MapFunction) -> TensorView:
        """function(point) at every point of a shape; use ``point.index(d)`` and ``point.read(view, indices)``."""
        dims = single_axes(shape)
        point = self._point(dims)
        return self._map_node(dtype, point, function(point), dims)

    def _map_node(self, dtype: DType, point: Point, scalar: Register, dims: tuple[Axes, ...]) -> TensorView:
        scalar = self._narrowed(dtype, point, scalar)
        node = self.graph.add(Map(scalar), dtype, [extent for axes in dims for extent in axes])
        return whole(self.graph, node, dims)

    def _narrowed(self, dtype: DType, point: Point, scalar: Register) -> Register:
        """The word that storing and loading would make of it: a value is the same whether it is stored or not."""
        read = self.graph.scalars.read_of(scalar)
        if read is not None and read.dtype is dtype:
            return scalar
        match dtype:
            case DType.BF16:
                return round_bfloat16(point, scalar)
            case DType.F16:
                return round_float16(point, scalar)
            case DType.U8:
                return point.and_(scalar, point.word(0xFF))
            case DType.I8:
                return point.ashr(point.shl(scalar, point.word(24)), point.word(24))
            case DType.BOOL if not self.graph.scalars.is_truth(scalar):
                return point.truth(scalar)
        return scalar

    def _point(self, dims: Sequence[Axes]) -> Point:
        return Point(self.graph.scalars, dim_forms(dims), [extent for axes in dims for extent in axes])

    def _permuted_point(self, dims: Sequence[Axes], order: Sequence[int]) -> Point:
        """A point whose dimension order[i] is the i-th of ``dims``."""
        forms = dim_forms(dims)
        back = [forms[list(order).index(d)] for d in range(len(order))]
        return Point(self.graph.scalars, back, [extent for axes in dims for extent in axes])

    def _elements(self, views: Sequence[TensorView]) -> list[Register]:
        """The element of each view at the point itself; all views have the same loop axes."""
        return [self.graph.scalars.read(view.read(identity(len(view.axes)), len(view.axes))) for view in views]

    # REDUCTIONS
    def fold(
        self,
        operands: Sequence[TensorView],
        reduce: Sequence[int],
        init: Sequence[int],
        body: Callable[..., Words],
        merge: Callable[[CodeBuilder, Words, Words], Words],
        dtypes: Sequence[DType],
        order: tuple[int, int] | None = None,
    ) -> list[TensorView]:
        """One tensor per accumulator: the operands, broadcast to one shape, reduced over dimensions, which disappear.

        ``init``: the word each accumulator starts as, in every lane: it must be neutral for ``merge``.
        ``body(point, accumulators, *elements)`` returns the new accumulators. Reduce points come in row-major order of
        the reduce dimensions as listed. In the body ``point.index(d)`` counts dimensions of the operands' shape.
        ``merge(builder, left, right)`` combines two sets of accumulators.
        ``dtypes``: F32 or I32 for each accumulator.
        ``order``: (lanes, block); chosen from the operands' strides if None.
        """
        shape = broadcast_shape([operand.shape for operand in operands])
        views = aligned(operands, shape)
        reduce = [views[0].dim(d) for d in reduce]
        kept = [d for d in range(len(shape)) if d not in reduce]
        lanes, block = order or fold_order(views, reduce)
        permuted = [view.permute([*kept, *reduce]) for view in views]
        dims = permuted[0].dims
        out_dims, reduce_dims = dims[: len(kept)], dims[len(kept) :]
        point = self._permuted_point(dims, [*kept, *reduce])
        words = self._elements(permuted)
        if all(not axes for axes in reduce_dims):  # one step from the start
            start = tuple(point.word(word) for word in init)
            scalars = body(point, start, *words)
            return [self._map_node(dtype, point, s, out_dims) for dtype, s in zip(dtypes, scalars, strict=True)]
        accumulators = tuple(point.acc(k) for k in range(len(init)))
        other = tuple(point.acc(len(init) + k) for k in range(len(init)))
        spec = FoldSpec(
            out_extents=tuple(extent for dim in out_dims for extent in dim),
            reduce_extents=tuple(extent for dim in reduce_dims for extent in dim),
            init=tuple(init),
            lanes=lanes,
            block=block,
            body=tuple(body(point, accumulators, *words)),
            merge=tuple(merge(point, accumulators, other)),
        )
        return [whole(self.graph, node, out_dims) for node in self.graph.fold(spec, dtypes)]

    def sum(self, view: TensorView, reduce: Sequence[int]) -> TensorView:
        """Sum of a float tensor over dimensions, which disappear."""
        (result,) = self.fold(
            [view], reduce, [0], lambda b, acc, x: (b.fadd(acc[0], x),), add_accumulators, [DType.F32]
        )
        return result

    def contract(self, a: TensorView, b: TensorView, reduce: int = 1) -> TensorView:
        """sum(a * b) over the last ``reduce`` dimensions of the shape both broadcast to, by fused multiply-adds.

        For a matrix product pass a as (M, 1, K) and b as (1, N, K): the result is (M, N), in float32. Bounds (padding)
        and windows of the operands are free; an operand that is computed is stored first.
        """
        shape = broadcast_shape([a.shape, b.shape])
        a, b = aligned([a, b], shape)
        kept = len(shape) - reduce
        point = self._point(a.dims)
        words = self._elements([a, b])
        if all(not axes for axes in a.dims[kept:]):
            return self._map_node(DType.F32, point, point.ffma(words[0], words[1], point.word(0)), a.dims[:kept])
        spec = FoldSpec(
            out_extents=tuple(extent for dim in a.dims[:kept] for extent in dim),
            reduce_extents=tuple(extent for dim in a.dims[kept:] for extent in dim),
            init=(0,),
            lanes=1,
            block=CONTRACTION_BLOCK,
            body=(point.ffma(words[0], words[1], point.acc(0)),),
            merge=(point.fadd(point.acc(0), point.acc(1)),),
            contraction=True,
        )
        (node,) = self.graph.fold(spec, [DType.F32])
        return whole(self.graph, node, a.dims[:kept])

    def scan(
        self,
        operands: Sequence[TensorView],
        dim: int,
        init: Sequence[int],
        body: Callable[..., Words],
        dtypes: Sequence[DType],
    ) -> list[TensorView]:
        """One tensor per accumulator, in the operands' shape: its word after every step along a dimension."""
        shape = broadcast_shape([operand.shape for operand in operands])
        views = [view.flattened(dim) for view in aligned(operands, shape)]
        dim = views[0].dim(dim)
        order = [*(d for d in range(len(shape)) if d != dim), dim]
        permuted = [view.permute(order) for view in views]
        dims = permuted[0].dims
        assert dims[-1], "a scan has more than one step"
        point = self._permuted_point(dims, order)
        words = self._elements(permuted)
        accumulators = tuple(point.acc(k) for k in range(len(init)))
        spec = FoldSpec(
            out_extents=tuple(extent for axes in dims[:-1] for extent in axes),
            reduce_extents=dims[-1],
            init=tuple(init),
            lanes=1,
            block=dims[-1][0],
            body=tuple(body(point, accumulators, *words)),
            merge=accumulators,
            scan=True,
        )
        nodes = self.graph.fold(spec, dtypes)
        back = [order.index(d) for d in range(len(shape))]
        return [whole(self.graph, node, dims).permute(back) for node in nodes]

    # SCATTER
    def scatter(
        self,
        shape: Sequence[int],
        dtype: DType,
        base: TensorView | int,
        operands: Sequence[TensorView],
        function: Callable[..., tuple[Sequence[Register], Register]],
        merge: Callable[[CodeBuilder, Register, Register], Register] | None = None,
    ) -> TensorView:
        """A tensor of this shape that starts as ``base`` (a tensor, or a word) and takes words by index.

        ``function(point, *elements)`` runs over the shape the operands broadcast to, in row-major order, and returns
        one index register per dimension of the result, and the word. ``merge(builder, element, word)`` returns the
        new element; None overwrites. A linear address outside the result drops the word: make any index -2**31 to
        drop one on purpose.
        """
        views = aligned(operands, broadcast_shape([operand.shape for operand in operands]))
        dims = views[0].dims
        axes = len(views[0].axes)
        point = self._point(dims)
        indices, word = function(point, *self._elements(views))
        scalars = self.graph.scalars
        target = Node(-1, Map(0), dtype, tuple(shape))
        address = self.graph.linear(target, [scalars.as_affine(index, axes) for index in indices], axes)
        if len(address.computed) > COMPUTED:
            address = scalars.as_affine(self._one_number(point, shape, indices), axes)
        base_node, fill = None, base if isinstance(base, int) else 0
        if isinstance(base, TensorView):
            stored = base.materialised()
            base_node = stored.node.number
        kind = Scatter(
            extents=tuple(extent for dim in dims for extent in dim),
            address=address,
            bounds=(),
            word=word,
            base=base_node,
            fill=fill,
            merge=None if merge is None else merge(point, point.acc(0), point.acc(1)),
        )
        result_dims = single_axes(shape)
        node = self.graph.add(kind, dtype, [extent for dim in result_dims for extent in dim])
        return whole(self.graph, node, result_dims)

    def _one_number(self, point: Point, shape: Sequence[int], indices: Sequence[Register]) -> Register:
        """The row-major number of an element, computed; where an index lies outside, one that no tensor has."""
        number, inside = point.word(0), point.word(1)
        for extent, index in zip(shape, indices, strict=True):
            number = point.iadd(point.imul(number, point.word(extent)), index)
            inside = point.and_(inside, point.ult(index, point.word(extent)))
        return point.select(inside, number, point.word(NOWHERE))

    def bounded(self, view: TensorView, bounds: Sequence[Bound], fill: int) -> TensorView:
        """The view where every bound (a form over its loop axes) is open, ``fill`` elsewhere."""
        if view.bounds and view.fill != fill:
            view = view.mapped()
        return TensorView(view.graph, view.node, view.dims, view.index, (*view.bounds, *bounds), fill)


def single_axes(shape: Sequence[int]) -> tuple[Axes, ...]:
    """One loop axis per dimension."""
    return tuple((extent,) if extent != 1 else () for extent in shape)


def add_accumulators(b: CodeBuilder, left: Words, right: Words) -> Words:
    """The merge of sums."""
    return tuple(b.fadd(x, y) for x, y in zip(left, right, strict=True))


def fold_order(views: Sequence[TensorView], reduce: Sequence[int]) -> tuple[int, int]:
    """Lanes and block for a reduction: many lanes along contiguous data, one lane across it.

    What counts is the largest operand: an engine that runs lanes side by side reads them from adjacent elements.
    """
    view = max(views, key=lambda view: view.node.elements)
    extent = prod(view.shape[d] for d in reduce)
    if extent < 2 * ROW_ORDER[0] or not view.dims[reduce[-1]]:
        return COLUMN_ORDER
    last = view._starts()[reduce[-1]] + len(view.dims[reduce[-1]]) - 1
    count = len(view.axes)
    linear = view.graph.linear(view.node, view.index, count)
    return ROW_ORDER if abs(linear.strides[last]) == 1 else COLUMN_ORDER


def constant_word(dtype: DType, value: float) -> int:
    """The word of a Python number, before it is narrowed to the dtype."""
    if dtype in FLOATS:
        return float_word(float(value))
    return int(bool(value)) if dtype is DType.BOOL else int(value) & 0xFFFFFFFF
