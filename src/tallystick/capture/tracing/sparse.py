"""Sparse tensors as what they are made of: places and values. Products gather rows and add them up.

A sparse tensor from outside (a variable, an attribute, a buffer) is constant: its places and values become constants
of the program. One made inside, by ``torch.sparse_coo_tensor`` or ``torch.sparse_csr_tensor``, may have values that
are computed, with gradients. Neither survives tracing as a tensor, so ``Sparse`` stands for them while the user's code
is traced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch import _VF, Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

from tallystick.capture.tracing.provenance import here
from tallystick.errors import CaptureError


class Sparse:
    """``values`` (n,) at ``places`` (dimensions, n) of a tensor of zeros. Places may repeat: their values add up."""

    is_sparse, requires_grad, is_cuda, layout = True, False, False, torch.sparse_coo

    def __init__(self, places: Tensor, values: Tensor, shape: Sequence[int], merged: bool = False) -> None:
        self.places, self._numbers, self.shape, self._merged = places, values, torch.Size(shape), merged
        self.dtype, self.device = values.dtype, values.device

    # SHAPE
    def dim(self) -> int:
        return len(self.shape)

    ndim = property(dim)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        return math.prod(self.shape)

    def _nnz(self) -> int:
        return self._numbers.shape[0]

    def is_coalesced(self) -> bool:
        return self._merged

    # PARTS
    def _indices(self) -> Tensor:
        return self.places

    def _values(self) -> Tensor:
        return self._numbers

    def indices(self) -> Tensor:
        return self.coalesce().places

    def values(self) -> Tensor:
        return self.coalesce()._numbers

    def coalesce(self) -> Sparse:
        """Equal places merged and in order, which needs places that are known."""
        if self._merged:
            return self
        if not is_known(self.places):
            refuse(
                "coalesce", "its indices are computed inside the program: make them outside, or leave coalesce() out"
            )
        with _disable_current_modes():
            places, number = torch.unique(self.places, dim=1, return_inverse=True)
        merged = torch.zeros(places.shape[1], dtype=self.dtype).index_add(0, number, self._numbers)
        return Sparse(places, merged, self.shape, True)

    def to_dense(self, *_: Any, **__: Any) -> Tensor:
        zeros = torch.zeros(self.shape, dtype=self.dtype)
        return zeros.index_put(tuple(self.places), self._numbers, accumulate=True)

    # THE SAME PLACES
    def with_values(self, values: Tensor) -> Sparse:
        return Sparse(self.places, values, self.shape, self._merged)

    def to(self, *args: Any, **kwargs: Any) -> Sparse:
        return self.with_values(self._numbers.to(*args, **kwargs))

    def float(self) -> Sparse:
        return self.with_values(self._numbers.float())

    def detach(self) -> Sparse:
        return self.with_values(self._numbers.detach())

    def clone(self) -> Sparse:
        return self

    cpu = to_sparse = to_sparse_coo = to_sparse_csr = contiguous = clone

    def __neg__(self) -> Sparse:
        return self.with_values(-self._numbers)

    def __mul__(self, other: Any) -> Sparse:
        """By a number, or by a dense tensor of the same shape (broadcast as usual)."""
        if isinstance(other, Sparse) or is_sparse(other):
            refuse("the product of two sparse tensors", "make one of them dense with to_dense()")
        if isinstance(other, Tensor) and other.dim():
            other = other.expand(self.shape)[tuple(self.places)]
        return self.with_values(self._numbers * other)

    __rmul__ = mul = __mul__

    def __truediv__(self, other: Any) -> Sparse:
        if isinstance(other, Tensor) and other.dim():
            other = other.expand(self.shape)[tuple(self.places)]
        return self.with_values(self._numbers / other)

    div = __truediv__

    def __add__(self, other: Any) -> Any:
        other = standing_for(other) if is_sparse(other) else other
        if not isinstance(other, Sparse):
            return self.to_dense() + other
        places = torch.cat([self.places, other.places], 1)
        return Sparse(places, torch.cat([self._numbers, other._numbers]), self.shape)

    __radd__ = add = __add__

    # OTHER PLACES
    def transpose(self, dim0: int, dim1: int) -> Sparse:
        order = list(range(self.dim()))
        order[dim0], order[dim1] = order[dim1], order[dim0]
        places = torch.stack([self.places[d] for d in order])
        return Sparse(places, self._numbers, [self.shape[d] for d in order])

    def t(self) -> Sparse:
        return self.transpose(0, 1)

    T = property(t)

    def sum(self, dim: Any = None, dtype: torch.dtype | None = None) -> Any:
        """Over all axes a tensor, over some a sparse one."""
        dims = {d % self.dim() for d in (dim if isinstance(dim, (list, tuple)) else [dim])} if dim is not None else None
        values = self._numbers if dtype is None else self._numbers.to(dtype)
        kept = [d for d in range(self.dim()) if dims is not None and d not in dims]
        if not kept:
            return values.sum()
        return Sparse(torch.stack([self.places[d] for d in kept]), values, [self.shape[d] for d in kept])

    def __matmul__(self, other: Any) -> Any:
        return product(self, other)

    mm = matmul = mv = __matmul__

    def __rmatmul__(self, other: Any) -> Any:
        return product(other, self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        refuse(name)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        refuse(getattr(func, "__name__", str(func)))


def refuse(use: str, why: str = "") -> NoReturn:
    why = why or "@, torch.sparse.mm, addmm, sum, t, to_dense and products with numbers can; use to_dense() for others"
    raise CaptureError(f"{use} of a sparse tensor cannot be captured{here()}: {why}")


def is_known(tensor: Any) -> bool:
    """Whether a tensor holds its numbers already while the program is traced: it came from outside."""
    return isinstance(tensor, Tensor) and not isinstance(tensor, FakeTensor)


def product(x: Any, y: Any) -> Any:
    """A matrix product of a sparse and a dense operand. Shapes: (N, M) @ (M,) or (M, F); (F, N) @ (N, M)."""
    if all(isinstance(side, Sparse) or is_sparse(side) for side in (x, y)):
        refuse("the product of two sparse tensors", "make one of them dense with to_dense()")
    if not isinstance(x, Sparse):
        if x.dim() == 1:
            return product(y.t(), x)
        return product(y.t(), x.t()).t()
    if x.dim() != 2 or y.dim() not in (1, 2) or x.shape[1] != y.shape[0]:
        raise ValueError(f"a sparse tensor of shape {tuple(x.shape)} times a tensor of shape {tuple(y.shape)}")
    values = x._numbers if y.dim() == 1 else x._numbers.unsqueeze(1)
    zeros = torch.zeros(x.shape[:1] + y.shape[1:], dtype=y.dtype)
    return zeros.index_add(0, x.places[0], values * y.index_select(0, x.places[1]))


def added_product(bias: Any, x: Any, y: Any, beta: Any = 1, alpha: Any = 1) -> Tensor:
    if isinstance(bias, Sparse):
        bias = bias.to_dense()
    made = product(x, y)
    return beta * bias + (made if alpha == 1 else alpha * made)


def softmax(x: Sparse, dim: int, dtype: torch.dtype | None = None) -> Sparse:
    """Over the values of a row (dim 1) or a column (dim 0) of a matrix, as if all others were -inf."""
    x = x.coalesce()
    if x.dim() != 2:
        refuse("softmax", "a matrix can be normalised, by rows or by columns")
    values = x._numbers if dtype is None else x._numbers.to(dtype)
    line, count = x.places[1 - dim % 2], x.shape[1 - dim % 2]
    largest = torch.full((count,), -math.inf).scatter_reduce(0, line, values.detach(), "amax")
    powers = torch.exp(values - largest.index_select(0, line))
    total = torch.zeros(count, dtype=values.dtype).index_add(0, line, powers)
    return x.with_values(powers / total.index_select(0, line))


def coo(
    indices: Any, values: Any, size: Any = None, *, dtype: Any = None, is_coalesced: Any = None, **_: Any
) -> Sparse:
    """``torch.sparse_coo_tensor``."""
    places = indices if isinstance(indices, Tensor) else torch.tensor(indices, dtype=torch.int64)
    numbers = values if isinstance(values, Tensor) else torch.tensor(values)
    if size is None:
        if not is_known(places):
            refuse("sparse_coo_tensor without a size", "give its size: it must not depend on data")
        with _disable_current_modes():
            size = (places.max(1).values + 1).tolist()
    if numbers.dim() != 1 or places.shape != (len(size), numbers.shape[0]):
        refuse("hybrid sparse_coo_tensor", "values have one axis, and indices one row per axis of the size")
    return Sparse(places, numbers if dtype is None else numbers.to(dtype), size, bool(is_coalesced))


def csr(rows: Any, columns: Any, values: Any, size: Any = None, *, dtype: Any = None, **_: Any) -> Sparse:
    """``torch.sparse_csr_tensor``: the entries of row i are those from rows[i] to rows[i + 1]."""
    rows, columns = (x if isinstance(x, Tensor) else torch.tensor(x) for x in (rows, columns))
    if size is None:
        refuse("sparse_csr_tensor without a size", "give its size")
    row = (torch.arange(columns.shape[0]).unsqueeze(1) >= rows[1:].long()).sum(1)
    return coo(torch.stack([row, columns.long()]), values, size, dtype=dtype)


def dense_to_sparse(x: Any, *_: Any, **__: Any) -> NoReturn:
    refuse(
        "to_sparse",
        "how many elements are not zero depends on data. Use the dense tensor, or make the sparse one outside",
    )


def multiplied(x: Any, y: Any) -> Any:
    return x * y if isinstance(x, Sparse) else y * x


def divided(x: Any, y: Any) -> Any:
    return x / y if isinstance(x, Sparse) else refuse("division", "divide by a dense tensor: by to_dense()")


def added(x: Any, y: Any, *, alpha: Any = 1) -> Any:
    y = y if alpha == 1 else y * alpha
    return x + y if isinstance(x, Sparse) else y + x


_MADE: dict[Any, Callable[..., Any]] = {torch.sparse_coo_tensor: coo, torch.sparse_csr_tensor: csr}
_FROM_DENSE = (
    Tensor.to_sparse, Tensor.to_sparse_coo, Tensor.to_sparse_csr, Tensor.to_sparse_csc, Tensor.to_sparse_bsr,
    Tensor.to_sparse_bsc,
)  # fmt: skip
_PRODUCTS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(
        (
            torch.sparse.mm, torch.mm, torch.spmm, torch.matmul, torch.mv, Tensor.mm, Tensor.matmul, Tensor.mv,
            Tensor.__matmul__,
        ),
        product,
    ),
    Tensor.__rmatmul__: lambda x, y: product(y, x),
    **dict.fromkeys((torch.addmm, Tensor.addmm, torch.sparse.addmm), added_product),
}  # fmt: skip
_OTHERS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((_VF._sparse_sum, torch.sum, Tensor.sum), Sparse.sum),
    torch.sparse.softmax: softmax,
    **dict.fromkeys((torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__), multiplied),
    **dict.fromkeys((torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__), added),
    **dict.fromkeys((torch.div, Tensor.div, Tensor.__truediv__), divided),
    torch.neg: Sparse.__neg__,
    torch.t: Sparse.t,
    torch.transpose: Sparse.transpose,
}


class SparseCalls:
    """Exchanges calls on sparse tensors; holds what stands for those from outside, so that they are one constant."""

    def __init__(self) -> None:
        self._standing: dict[int, tuple[Tensor, Sparse]] = {}

    def __call__(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The result of a call, or NotImplemented where no sparse tensor takes part."""
        operands = [*args, *kwargs.values()]
        tensors = [a for a in operands if isinstance(a, (Tensor, Sparse))]
        known = all(is_known(a) for a in tensors)
        if func in _MADE and not known:
            return _MADE[func](*args, **kwargs)
        if func in _FROM_DENSE and not known and not isinstance(args[0], Sparse):
            dense_to_sparse(args[0])
        if func not in _MADE and not any(isinstance(a, Sparse) or is_sparse(a) for a in tensors):
            return NotImplemented
        if known and (func not in _PRODUCTS or all(is_sparse(a) for a in tensors)):
            return outside(func, args, kwargs)
        rule = _PRODUCTS.get(func) or _OTHERS.get(func)
        if rule is None:
            refuse(getattr(func, "__name__", str(func)))
        given = [self._stand_in(a) if is_sparse(a) else a for a in args]
        return rule(*given, **{name: self._stand_in(a) if is_sparse(a) else a for name, a in kwargs.items()})

    def _stand_in(self, tensor: Tensor) -> Sparse:
        if id(tensor) not in self._standing:
            if tensor.requires_grad:
                refuse(
                    "the gradient",
                    "make the tensor inside the loss, by torch.sparse_coo_tensor(indices, weights, size)",
                )
            with _disable_current_modes():
                merged = (tensor if tensor.layout is torch.sparse_coo else tensor.to_sparse_coo()).coalesce()
                if merged.dense_dim():
                    refuse("hybrid layout")
                made = Sparse(merged.indices().clone(), merged.values().clone(), merged.shape, True)
            self._standing[id(tensor)] = tensor, made
        return self._standing[id(tensor)][1]


def standing_for(tensor: Tensor) -> Sparse:
    """What stands for a sparse tensor from outside."""
    if tensor.requires_grad:
        refuse("the gradient", "make it inside the loss, by torch.sparse_coo_tensor(indices, weights, size)")
    with _disable_current_modes():
        merged = (tensor if tensor.layout is torch.sparse_coo else tensor.to_sparse_coo()).coalesce()
        if merged.dense_dim():
            refuse("hybrid layout")
        return Sparse(merged.indices().clone(), merged.values().clone(), merged.shape, True)


def is_sparse(tensor: Any) -> bool:
    """Whether this is a sparse tensor that holds its numbers."""
    return is_known(tensor) and tensor.layout is not torch.strided


def outside(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run a call on tensors from outside as it is: its result is a constant, too."""
    name = getattr(func, "__name__", "")
    if name.endswith("_") and not name.endswith("__"):
        refuse(name, "it would change a tensor from outside the loss")
    with _disable_current_modes():
        result = func(*args, **kwargs)
        # Parts of a sparse tensor are views of it, which PyTorch cannot trace.
        return result.detach().clone() if isinstance(result, Tensor) and not is_sparse(result) else result
