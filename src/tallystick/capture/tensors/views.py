"""Strided views of graph nodes: what operators take and return. Re-indexing a tensor costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from tallystick.capture.tensors.affine import Affine, Bound, axis, constant, identity
from tallystick.capture.tensors.axes import Axes, split_axes
from tallystick.capture.tensors.graph import Map, Node, TensorGraph
from tallystick.capture.tensors.scalars import Read
from tallystick.spec.tensors import DType


@dataclass(frozen=True, slots=True, eq=False)
class TensorView:
    """A tensor as an operator sees it: a node, and how the node's axes follow from the view's.

    A dimension may be made of several loop axes (after a reshape that merged dimensions of a strided tensor).
    Where a bound is closed, the element is the word ``fill``.

    ``dims`` has the loop axes of each dimension; ``index`` has one form per axis of the node, over all loop axes of
    the view in order.
    """

    graph: TensorGraph
    node: Node
    dims: tuple[Axes, ...]
    index: tuple[Affine, ...]
    bounds: tuple[Bound, ...] = ()
    fill: int = 0

    # WHAT IT IS
    @property
    def dtype(self) -> DType:
        return self.node.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(prod(axes) for axes in self.dims)

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def axes(self) -> Axes:
        """Extents of all loop axes, in order."""
        return tuple(extent for dim in self.dims for extent in dim)

    @property
    def is_whole(self) -> bool:
        """Whether the view is all of its node, in order."""
        return not self.bounds and self.axes == self.node.extents and self.index == identity(len(self.axes))

    def dim(self, number: int) -> int:
        """A dimension number, negative ones counted from the end."""
        rank = max(self.rank, 1)
        assert -rank <= number < rank, f"dimension {number} of a tensor of rank {self.rank}"
        return number % rank

    # RE-INDEXING
    def permute(self, order: Sequence[int]) -> TensorView:
        order = [self.dim(d) for d in order]
        starts = self._starts()
        old_axes = [starts[d] + i for d in order for i in range(len(self.dims[d]))]
        count = len(old_axes)
        forms = [constant(0, count)] * count
        for new, old in enumerate(old_axes):
            forms[old] = axis(new, count)
        return self._moved(forms, tuple(self.dims[d] for d in order))

    def transpose(self, a: int, b: int) -> TensorView:
        order = list(range(self.rank))
        a, b = self.dim(a), self.dim(b)
        order[a], order[b] = order[b], order[a]
        return self.permute(order)

    def unsqueeze(self, dim: int) -> TensorView:
        """A new dimension of size 1 before ``dim`` (counted in the result)."""
        dim = dim % (self.rank + 1)
        return replace(self, dims=(*self.dims[:dim], (), *self.dims[dim:]))

    def squeeze(self, dims: Sequence[int] | None = None) -> TensorView:
        """Without these dimensions, where they have size 1; all of size 1 if None."""
        chosen = range(self.rank) if dims is None else {self.dim(d) for d in dims}
        return replace(self, dims=tuple(axes for d, axes in enumerate(self.dims) if d not in chosen or axes))

    def expand(self, shape: Sequence[int]) -> TensorView:
        """Broadcast to a shape, which may have more dimensions; -1 keeps a size."""
        missing = len(shape) - self.rank
        assert missing >= 0, "a broadcast never loses dimensions"
        old: list[Axes] = [()] * missing + list(self.dims)
        dims: list[Axes] = []
        kept: list[bool] = []
        for axes, extent in zip(old, shape, strict=True):
            grows = not axes and extent not in (-1, 1)
            dims.append((extent,) if grows else axes)
            kept.extend([not grows] * len(dims[-1]))
            assert grows or extent in (-1, prod(axes)), f"size {prod(axes)} does not broadcast to {extent}"
        count = len(kept)
        forms = [axis(new, count) for new in range(count) if kept[new]]
        return self._moved(forms, tuple(dims))

    def slice(self, dim: int, start: int, stop: int, step: int = 1) -> TensorView:
        """Elements start, start + step, ... below stop of a dimension; bounds as Python's slices clip them."""
        dim = self.dim(dim)
        chosen = range(*slice(start, stop, step).indices(self.shape[dim]))
        if len(chosen) == self.shape[dim] and step == 1:
            return self
        if len(chosen) == 0:
            return self._empty(dim)
        view = self.flattened(dim)
        if not view.dims[dim]:
            return view
        return view._with_axis(dim, len(chosen), chosen[0], chosen.step)

    def select(self, dim: int, position: int) -> TensorView:
        """One element of a dimension, which disappears."""
        dim = self.dim(dim)
        position %= self.shape[dim]
        return self.slice(dim, position, position + 1).squeeze([dim])

    def flip(self, dims: Sequence[int]) -> TensorView:
        chosen = {self.dim(d) for d in dims}
        count = len(self.axes)
        forms, place = [], 0
        for d, axes in enumerate(self.dims):
            for extent in axes:
                form = axis(place, count)
                forms.append(form.scaled(-1).shifted(extent - 1) if d in chosen else form)
                place += 1
        return self._moved(forms, self.dims)

    def diagonal(self, a: int, b: int, offset: int = 0) -> TensorView:
        """The diagonal of two dimensions, as a new last dimension."""
        a, b = self.dim(a), self.dim(b)
        rows, columns = self.shape[a], self.shape[b]
        length = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
        view = self.slice(a, max(-offset, 0), max(-offset, 0) + length)
        view = view.slice(b, max(offset, 0), max(offset, 0) + length).flattened(a).flattened(b)
        rest = [d for d in range(self.rank) if d not in (a, b)]
        view = view.permute([*rest, a, b])
        if length <= 1:
            return view.squeeze([view.rank - 1])
        count = len(view.axes) - 1
        forms = [*identity(count), axis(count - 1, count)]
        return view._moved(forms, view.dims[:-1])

    def pad(self, dim: int, before: int, after: int, fill: int = 0) -> TensorView:
        """A dimension grown (or cut, if negative) at both ends; new elements are the word ``fill``."""
        dim = self.dim(dim)
        if before < 0 or after < 0:
            cut = self.slice(dim, max(-before, 0), self.shape[dim] - max(-after, 0))
            return cut.pad(dim, max(before, 0), max(after, 0), fill)
        if before == after == 0:
            return self
        view = self.flattened(dim)
        if view.bounds and view.fill != fill:
            view = view.mapped()
        extent = view.shape[dim]
        if not view.dims[dim]:
            view = view._widened(dim)
        moved = view._with_axis(dim, extent + before + after, -before, 1)
        count = len(moved.axes)
        place = axis(moved._starts()[dim], count)
        return replace(moved, bounds=(*moved.bounds, Bound(place.shifted(-before), extent)), fill=fill)

    def windows(self, dim: int, size: int, step: int = 1, dilation: int = 1) -> TensorView:
        """Sliding windows over a dimension, which becomes the window's number; a new last dimension lies within it.

        Shapes: dimension n -> (n - dilation * (size - 1) - 1) // step + 1, and ``size`` at the end.
        """
        dim = self.dim(dim)
        number = (self.shape[dim] - dilation * (size - 1) - 1) // step + 1
        assert number > 0, "a window fits at least once"
        view = self.flattened(dim)
        outer: Axes = (number,) if number > 1 else ()
        inner: Axes = (size,) if size > 1 else ()
        dims = (*view.dims[:dim], outer, *view.dims[dim + 1 :], inner)
        count = sum(len(axes) for axes in dims)
        at = view._starts()[dim]
        form = constant(0, count)
        if outer:
            form = form.plus(axis(at, count, step))
        if inner:
            form = form.plus(axis(count - 1, count, dilation))
        old = len(view.axes)
        had = len(view.dims[dim])
        forms = [axis(i, count) for i in range(at)]
        forms += [form] * had
        forms += [axis(i + len(outer) - had, count) for i in range(at + had, old)]
        return view._moved(forms, dims)

    def reshape(self, shape: Sequence[int]) -> TensorView:
        """The same elements in row-major order under another shape; -1 is inferred."""
        shape = list(shape)
        if -1 in shape:
            at = shape.index(-1)
            rest = prod(shape[:at] + shape[at + 1 :])
            shape[at] = self.elements // rest if rest else 0
        assert prod(shape) == self.elements, f"{self.shape} does not reshape to {tuple(shape)}"
        split = split_axes(self.axes, shape)
        if split is not None:
            return self._split(*split)
        joined = self._joined()
        split = split_axes(joined.axes, shape)
        return self._dense().reshape(shape) if split is None else joined._split(*split)

    # STRUCTURE OF DIMENSIONS
    def flattened(self, dim: int) -> TensorView:
        """The same tensor with at most one loop axis in this dimension; stored first where that needs it."""
        dim = self.dim(dim)
        if len(self.dims[dim]) <= 1:
            return self
        merged = self._merged(dim)
        if merged is not None:
            return merged
        if not any(form.computed for form in self.index):
            flat = self.graph.flat(self.node)
            count = len(self.axes)
            linear = self.graph.linear(self.node, self.index, count)
            merged = replace(self, node=flat, index=(linear,))._merged(dim)
            if merged is not None:
                return merged
        return self.materialised().reshape(self.shape)

    def split(self, dim: int, parts: Sequence[int]) -> TensorView:
        """The same tensor with this dimension's loop axes as given (extents whose product is the dimension's)."""
        dim = self.dim(dim)
        wanted = tuple(extent for extent in parts if extent != 1)
        if self.dims[dim] == wanted:
            return self
        view = self
        split = split_axes(view.dims[dim], wanted)
        if split is None or any(len(axes) != 1 for axes in split[1]):
            view = view.flattened(dim)
            split = split_axes(view.dims[dim], wanted)
        assert split is not None, "one axis splits in any way"
        at = view._starts()[dim]
        pieces: list[Axes] = [(extent,) for extent in view.axes]
        pieces[at : at + len(view.dims[dim])] = split[0]
        return view._split(pieces, (*view.dims[:dim], wanted, *view.dims[dim + 1 :]))

    def parted(self, dim: int, outer: int) -> TensorView:
        """A dimension as two: its first ``outer`` loop axes, and the others."""
        axes = self.dims[dim]
        return replace(self, dims=(*self.dims[:dim], axes[:outer], axes[outer:], *self.dims[dim + 1 :]))

    def grouped(self, dim: int) -> TensorView:
        """A dimension and the next one as one."""
        axes = self.dims[dim] + self.dims[dim + 1]
        return replace(self, dims=(*self.dims[:dim], axes, *self.dims[dim + 2 :]))

    def mapped(self) -> TensorView:
        """A view of a new node with the same elements: bounds and fill become part of the node."""
        count = len(self.axes)
        scalar = self.graph.scalars.read(self.read(identity(count), count))
        node = self.graph.add(Map(scalar), self.dtype, self.axes)
        return whole(self.graph, node, self.dims)

    def materialised(self) -> TensorView:
        """The same elements, stored densely in row-major order: any reshape of the result is free."""
        return self._dense().reshape(self.shape)

    def read(self, forms: Sequence[Affine], axes: int) -> Read:
        """The read of an element; ``forms`` give each loop axis of the view over the axes of some loop nest."""
        plain = Read(self.node.number, self.dtype, self.index, self.bounds, self.fill)
        return self.graph.scalars.move_read(plain, forms, axes)

    # HELPERS
    def _dense(self) -> TensorView:
        """All elements, stored in row-major order, as one loop axis."""
        view = self if self.is_whole else self.mapped()
        if view.elements == 1:
            return TensorView(self.graph, view.node, ((),), view.index)
        return TensorView(self.graph, self.graph.flat(view.node), ((view.elements,),), identity(1))

    def _joined(self) -> TensorView:
        """All elements as one dimension, of as few loop axes as the forms allow."""
        view = replace(self, dims=(self.axes,))
        at = len(self.axes) - 1
        while at > 0:
            pair = (*((extent,) for extent in view.axes[: at - 1]), view.axes[at - 1 : at + 1])
            grouped = replace(view, dims=(*pair, *((extent,) for extent in view.axes[at + 1 :])))
            merged = grouped._merged(at - 1)
            view = view if merged is None else replace(merged, dims=(merged.axes,))
            at -= 1
        return view

    def _starts(self) -> list[int]:
        """Number of the first loop axis of each dimension."""
        starts, at = [], 0
        for axes in self.dims:
            starts.append(at)
            at += len(axes)
        return starts

    def _moved(self, forms: Sequence[Affine], dims: tuple[Axes, ...]) -> TensorView:
        """The view over other loop axes: its own axis i is ``forms[i]`` of them."""
        read = self.read(forms, sum(len(axes) for axes in dims))
        return replace(self, dims=dims, index=read.index, bounds=read.bounds)

    def _with_axis(self, dim: int, extent: int, offset: int, stride: int) -> TensorView:
        """The single axis of a dimension replaced by offset + stride * (a new axis of this extent)."""
        at = self._starts()[dim]
        old = len(self.axes)
        if extent == 1:
            forms = [
                axis(i if i < at else i - 1, old - 1) if i != at else constant(offset, old - 1) for i in range(old)
            ]
            return self._moved(forms, (*self.dims[:dim], (), *self.dims[dim + 1 :]))
        forms = [axis(i, old, stride).shifted(offset) if i == at else axis(i, old) for i in range(old)]
        return self._moved(forms, (*self.dims[:dim], (extent,), *self.dims[dim + 1 :]))

    def _widened(self, dim: int) -> TensorView:
        """A dimension of size 1 given a loop axis that does not move the element."""
        at = self._starts()[dim]
        count = len(self.axes) + 1
        forms = [axis(i if i < at else i + 1, count) for i in range(count - 1)]
        return self._moved(forms, (*self.dims[:dim], (1,), *self.dims[dim + 1 :]))

    def _empty(self, dim: int) -> TensorView:
        """No elements: a dimension of size 0."""
        dims = (*self.dims[:dim], (0,), *self.dims[dim + 1 :])
        count = sum(len(axes) for axes in dims)
        node = self.graph.add(Map(self.graph.scalars.word(0)), self.dtype, tuple(e for d in dims for e in d))
        return TensorView(self.graph, node, dims, identity(count))

    def _split(self, parts: Sequence[Axes], dims: tuple[Axes, ...]) -> TensorView:
        """Every loop axis split into parts, and the parts grouped into dimensions."""
        count = sum(len(part) for part in parts)
        forms, at = [], 0
        for part in parts:
            form, stride = constant(0, count), prod(part)
            for extent in part:
                stride //= max(extent, 1)
                form = form.plus(axis(at, count, stride))
                at += 1
            forms.append(form)
        return self._moved(forms, dims)

    def _merged(self, dim: int) -> TensorView | None:
        """The loop axes of a dimension as one, if every form allows it."""
        at, extents = self._starts()[dim], self.dims[dim]
        end = at + len(extents)

        def merge(form: Affine) -> Affine | None:
            inner = form.strides[end - 1]
            stride = inner
            for i in range(len(extents) - 1, 0, -1):
                stride *= extents[i]
                if form.strides[at + i - 1] != stride:
                    return None
            return None if form.computed else Affine(form.base, (*form.strides[:at], inner, *form.strides[end:]))

        index = [merge(form) for form in self.index]
        forms = [merge(bound.form) for bound in self.bounds]
        if None in index or None in forms:
            return None
        bounds = tuple(Bound(f, bound.limit) for f, bound in zip(forms, self.bounds, strict=True) if f is not None)
        dims = (*self.dims[:dim], (prod(extents),), *self.dims[dim + 1 :])
        return replace(self, dims=dims, index=tuple(form for form in index if form is not None), bounds=bounds)


def whole(graph: TensorGraph, node: Node, dims: Sequence[Axes]) -> TensorView:
    """All of a node, its axes grouped into dimensions."""
    view = TensorView(graph, node, tuple(dims), identity(len(node.extents)))
    assert view.axes == node.extents, "the dimensions hold the node's axes in order"
    return view
