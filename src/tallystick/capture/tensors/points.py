"""What a lowering writes scalar code with: a code builder that knows the point it is at."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.capture.tensors.affine import Affine, constant, row_major
from tallystick.capture.tensors.scalars import ScalarGraph
from tallystick.capture.tensors.views import TensorView
from tallystick.ir.builder import CodeBuilder, Register
from tallystick.spec.instructions import Op


class Point(CodeBuilder):
    """Builds the expression of one element. ``index(d)`` is the element's index in dimension d.

    Everything a ``CodeBuilder`` has, and ``read``: any element of any tensor, at indices that may be computed.
    """

    def __init__(self, scalars: ScalarGraph, dims: Sequence[Affine], extents: Sequence[int]) -> None:
        super().__init__()
        self.instructions = scalars.instructions
        self._scalars = scalars
        self._dims = tuple(dims)
        self._extents = tuple(extents)

    def emit(self, op: Op, *args: Register, imm: int = 0) -> Register:
        return self._scalars.emit(op, *args, imm=imm)

    def step(self) -> Register:
        return self._scalars.step()

    def index(self, axis: int) -> Register:
        """The point's index in a dimension (reduce dimensions come after the output's)."""
        return self._scalars.affine(self._dims[axis])

    def read(self, view: TensorView, indices: Sequence[Register]) -> Register:
        """The element of a tensor at these indices, one register per dimension.

        An index outside the tensor is harmless: it yields the view's fill word (0) or another element.
        """
        assert len(indices) == view.rank, "one index per dimension"
        axes = len(self._extents)
        places = [self._scalars.as_affine(register, axes) for register in indices]
        for dim, place in enumerate(places):
            if digits(place, view.dims[dim], self._extents) is None:
                view = view.flattened(dim)
        forms: list[Affine] = []
        for dim, place in enumerate(places):
            parts = digits(place, view.dims[dim], self._extents)
            assert parts is not None, "a dimension of one loop axis is read at any place"
            forms.extend(parts)
        return self._scalars.read(view.read(forms, axes))

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


def digits(place: Affine, extents: Sequence[int], loop: Sequence[int]) -> list[Affine] | None:
    """The index along each loop axis of a dimension, given the index in the dimension; None if it would carry.

    ``extents`` are those of the dimension's loop axes, ``loop`` those of the nest that ``place`` is over.
    """
    if len(extents) <= 1:
        return [place] if extents else []
    if place.computed or place.base:
        return None
    strides = row_major(extents)
    parts = [[0] * len(loop) for _ in extents]
    for axis, stride in enumerate(place.strides):
        if stride:
            digit = next(k for k, own in enumerate(strides) if own <= abs(stride))
            if stride < 0 or stride % strides[digit]:
                return None
            parts[digit][axis] = stride // strides[digit]
    for part, extent in zip(parts, extents, strict=True):
        if sum(s * (e - 1) for s, e in zip(part, loop, strict=True)) >= extent:
            return None
    return [Affine(0, tuple(part)) for part in parts]


def dim_forms(view_dims: Sequence[Sequence[int]]) -> list[Affine]:
    """The index in each dimension as a form over all loop axes."""
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
    return forms
