"""What a lowering writes scalar code with: a code builder that knows the point it is at."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.capture.affine import Affine, constant
from tallystick.capture.scalars import ScalarGraph
from tallystick.capture.views import TensorView
from tallystick.ir.builder import CodeBuilder, Register
from tallystick.spec.instructions import Op


class Point(CodeBuilder):
    """Builds the expression of one element. ``index(d)`` is the element's index in dimension d.

    Everything a ``CodeBuilder`` has, and ``read``: any element of any tensor, at indices that may be computed.
    """

    def __init__(self, scalars: ScalarGraph, dims: Sequence[Affine], axes: int) -> None:
        super().__init__()
        self.instructions = scalars.instructions
        self._scalars = scalars
        self._dims = tuple(dims)
        self._axes = axes

    def emit(self, op: Op, *args: Register, imm: int = 0) -> Register:
        return self._scalars.emit(op, *args, imm=imm)

    def index(self, axis: int) -> Register:
        """The point's index in a dimension (reduce dimensions come after the output's)."""
        return self._scalars.affine(self._dims[axis])

    def read(self, view: TensorView, indices: Sequence[Register]) -> Register:
        """The element of a tensor at these indices, one register per dimension.

        An index outside the tensor is harmless: it yields the view's fill word (0) or another element. The view's
        dimensions must be single loop axes: pass ``flat_dims(view)`` if it may have been reshaped.
        """
        assert len(indices) == view.rank, "one index per dimension"
        forms = []
        for axes, register in zip(view.dims, indices, strict=True):
            assert len(axes) <= 1, "flatten the dimensions before reading at computed indices"
            if axes:
                forms.append(self._scalars.as_affine(register, self._axes))
        return self._scalars.read(view.read(forms, self._axes))

    def truth(self, a: Register) -> Register:
        """1 if an integer word is not 0, else 0."""
        return self.select(a, self.word(1), self.word(0))

    def not_(self, a: Register) -> Register:
        """1 if a word is 0, else 0."""
        return self.ieq(a, self.word(0))

    def fle_not(self, a: Register, b: Register) -> Register:
        """Not a <= b: true on NaN."""
        return self.not_(self.fle(a, b))

    def is_nan(self, a: Register) -> Register:
        return self.not_(self.feq(a, a))


def flat_dims(view: TensorView) -> TensorView:
    """The same tensor with one loop axis per dimension, as ``Point.read`` needs it."""
    for dim in range(view.rank):
        view = view.flattened(dim)
    return view


def dim_forms(view_dims: Sequence[Sequence[int]]) -> tuple[list[Affine], int]:
    """The index in each dimension as a form over all loop axes, and the number of loop axes."""
    count = sum(len(axes) for axes in view_dims)
    forms, at = [], 0
    for axes in view_dims:
        strides = [0] * count
        stride = 1
        for i in range(len(axes) - 1, -1, -1):
            strides[at + i] = stride
            stride *= axes[i]
        forms.append(Affine(0, tuple(strides)) if axes else constant(0, count))
        at += len(axes)
    return forms, count
