"""Complex operators on pairs of real tensors: a program has words of 32 bits, and two of them are a complex number.

Each function has the signature of its operator, with a ``Pair`` where PyTorch has a complex tensor. Where an operator
takes a complex operand beside a real one, the real one stays a tensor or a number: nothing is multiplied by its zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten


@dataclass(frozen=True)
class Pair:
    """The real and the imaginary parts of a complex tensor, two float32 tensors of its shape."""

    real: Tensor
    imag: Tensor

    def joined(self) -> Tensor:
        """As ``torch.view_as_real`` has it. Shapes: (...) -> (..., 2)."""
        return torch.stack([self.real, self.imag], -1)


Operand = Pair | Tensor | complex


def pair_of(x: Tensor) -> Pair:
    """Shapes: (..., 2) -> (...)."""
    return Pair(x.select(-1, 0), x.select(-1, 1))


def real_part(x: Operand) -> Any:
    return x.real if isinstance(x, (Pair, complex)) else x


def imaginary_part(x: Operand) -> Any:
    """None for what is real."""
    return x.imag if isinstance(x, (Pair, complex)) else None


def complete(real: Tensor, imag: Tensor | None) -> Pair:
    return Pair(real, torch.zeros_like(real) if imag is None else imag)


# PARTS
def by_parts(operator: OpOverload, *data: int) -> Callable[..., Pair]:
    """An operator that moves, chooses or adds elements: the same on either part. ``data`` are its complex arguments."""

    def part_of(argument: Any, imaginary: bool) -> Any:
        if isinstance(argument, (list, tuple)):
            return [part_of(item, imaginary) for item in argument]
        if not imaginary:
            return real_part(argument)
        found = imaginary_part(argument)
        if found is None:
            return torch.zeros_like(argument) if isinstance(argument, Tensor) else 0.0
        return found

    def apply(*args: Any, **kwargs: Any) -> Pair:
        if kwargs.get("dtype") is not None:
            kwargs["dtype"] = torch.float32
        parts = [
            operator(*(part_of(a, imaginary) if i in data else a for i, a in enumerate(args)), **kwargs)
            for imaginary in (False, True)
        ]
        return Pair(*parts)

    return apply


def to_copy(x: Pair | Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Pair | Tensor:
    if isinstance(x, Pair):
        return x if dtype is None or dtype.is_complex else x.real.to(dtype)
    return complete(x.to(torch.float32), None)


def view_dtype(x: Pair | Tensor, dtype: torch.dtype) -> Pair | Tensor:
    """Two floats as a complex number, or the other way around, along the last axis."""
    if isinstance(x, Pair):
        return x.joined().flatten(-2)
    return pair_of(x.unflatten(-1, (-1, 2)))


def polar(size: Tensor, angle: Tensor) -> Pair:
    return Pair(size * torch.cos(angle), size * torch.sin(angle))


def conjugate(x: Pair) -> Pair:
    return Pair(x.real, -x.imag)


# ARITHMETIC
def add(x: Operand, y: Operand, *, alpha: complex = 1) -> Pair:
    if alpha != 1:
        y = multiply(alpha, y)
    real, first, second = real_part(x) + real_part(y), imaginary_part(x), imaginary_part(y)
    imag: Any = second if first is None else first if second is None else first + second
    return Pair(real, torch.full_like(real, imag) if _number(imag) else imag)


def subtract(x: Operand, y: Operand, *, alpha: complex = 1) -> Pair:
    return add(x, y, alpha=-alpha)


def subtract_from(x: Operand, y: Operand, alpha: complex = 1) -> Pair:
    return add(y, x, alpha=-alpha)


def multiply(x: Any, y: Any) -> Any:
    """(a + bi)(c + di). The product of two reals is real."""
    a, b, c, d = real_part(x), imaginary_part(x), real_part(y), imaginary_part(y)
    if b is None and d is None:
        return a * c
    if b is None or d is None:
        return _made(a * c, a * d if b is None else b * c)
    return _made(a * c - b * d, a * d + b * c)


def _made(real: Any, imag: Any) -> Any:
    """A pair of tensors, or a complex number of two numbers."""
    return complex(real, imag) if _number(real) and _number(imag) else Pair(real, imag)


def _number(x: Any) -> bool:
    return isinstance(x, (bool, int, float))


def divide(x: Operand, y: Operand) -> Pair:
    """x / y, scaled by the larger part of y, so that no square leaves the range of float32."""
    c, d = real_part(y), imaginary_part(y)
    if d is None:
        return Pair(real_part(x) / c, imaginary_part(x) / c)
    if isinstance(y, complex):
        return multiply(x, 1.0 / y)
    scale = torch.maximum(c.abs(), d.abs())
    c, d = c / scale, d / scale
    size = (c * c + d * d) * scale
    turned = multiply(x, Pair(c, -d))
    return Pair(turned.real / size, turned.imag / size)


def reciprocal(x: Pair) -> Pair:
    return divide(1.0, x)


def absolute(x: Pair) -> Tensor:
    """sqrt(a^2 + b^2), scaled by the larger part."""
    a, b = x.real.abs(), x.imag.abs()
    large, small = torch.maximum(a, b), torch.minimum(a, b)
    ratio = small / large
    return torch.where((large > 0.0) & (large < math.inf), large * torch.sqrt(1.0 + ratio * ratio), large)


def angle(x: Pair) -> Tensor:
    return torch.atan2(x.imag, x.real)


def equal(x: Operand, y: Operand) -> Tensor:
    first, second = imaginary_part(x), imaginary_part(y)
    return (real_part(x) == real_part(y)) & ((0.0 if second is None else second) == (0.0 if first is None else first))


def not_equal(x: Operand, y: Operand) -> Tensor:
    return ~equal(x, y)


# POWERS
def power(x: Pair, exponent: complex) -> Pair:
    """Whole powers by products; others by exp(exponent * log x)."""
    if isinstance(exponent, complex) or exponent != int(exponent) or not 0 < exponent <= 16:
        return exponential(multiply(logarithm(x), exponent))
    result, square, left = None, x, int(exponent)
    while left:
        if left % 2:
            result = square if result is None else multiply(result, square)
        left //= 2
        square = multiply(square, square) if left else square
    assert result is not None, "the exponent is positive"
    return result


def square_root(x: Pair) -> Pair:
    """The root whose real part is not negative; nothing cancels."""
    larger = torch.sqrt((absolute(x) + x.real.abs()) * 0.5)
    smaller = torch.where(larger > 0.0, x.imag.abs() / (2.0 * larger), 0.0)
    right = x.real >= 0.0
    imag = torch.where(right, smaller, larger)
    return Pair(torch.where(right, larger, smaller), torch.where(x.imag < 0.0, -imag, imag))


def exponential(x: Pair) -> Pair:
    return polar(torch.exp(x.real), x.imag)


def logarithm(x: Pair) -> Pair:
    return Pair(torch.log(absolute(x)), angle(x))


def sine(x: Pair) -> Pair:
    return Pair(torch.sin(x.real) * torch.cosh(x.imag), torch.cos(x.real) * torch.sinh(x.imag))


def cosine(x: Pair) -> Pair:
    return Pair(torch.cos(x.real) * torch.cosh(x.imag), -torch.sin(x.real) * torch.sinh(x.imag))


def hyperbolic_sine(x: Pair) -> Pair:
    return Pair(torch.sinh(x.real) * torch.cos(x.imag), torch.cosh(x.real) * torch.sin(x.imag))


def hyperbolic_cosine(x: Pair) -> Pair:
    return Pair(torch.cosh(x.real) * torch.cos(x.imag), torch.sinh(x.real) * torch.sin(x.imag))


def hyperbolic_tangent(x: Pair) -> Pair:
    t, s, c = torch.tanh(x.real), torch.sin(x.imag), torch.cos(x.imag)
    size = c * c + t * t * (s * s)
    return Pair(t / size, s * c * (1.0 - t * t) / size)


# PRODUCTS OF MATRICES
def product_by(operator: OpOverload) -> Callable[[Any, Any], Pair]:
    """A product of matrices, of which one may be real."""

    def apply(x: Any, y: Any) -> Pair:
        a, b, c, d = real_part(x), imaginary_part(x), real_part(y), imaginary_part(y)
        if b is None:
            return Pair(operator(a, c), operator(a, d))
        if d is None:
            return Pair(operator(a, c), operator(b, c))
        return Pair(operator(a, c) - operator(b, d), operator(a, d) + operator(b, c))

    return apply


def added_product_by(operator: OpOverload) -> Callable[..., Pair]:
    product = product_by(operator)

    def apply(bias: Any, x: Any, y: Any, *, beta: complex = 1, alpha: complex = 1) -> Pair:
        made = product(x, y)
        made = made if alpha == 1 else multiply(made, alpha)
        return add(made, bias, alpha=beta)

    return apply


_BY_PARTS: dict[OpOverload, Sequence[int]] = {
    aten.alias.default: (0,),
    aten.as_strided.default: (0,),
    aten.cat.default: (0,),
    aten.clone.default: (0,),
    aten.constant_pad_nd.default: (0, 2),
    aten.cumsum.default: (0,),
    aten.diagonal.default: (0,),
    aten.embedding.default: (0,),
    aten.embedding_dense_backward.default: (0,),
    aten.expand.default: (0,),
    aten.flip.default: (0,),
    aten.full.default: (1,),
    aten.full_like.default: (0, 1),
    aten.gather.default: (0,),
    aten.index.Tensor: (0,),
    aten.index_add.default: (0, 3),
    aten.index_put.default: (0, 2),
    aten.index_select.default: (0,),
    aten.neg.default: (0,),
    aten.permute.default: (0,),
    aten.scalar_tensor.default: (0,),
    aten.scatter.src: (0, 3),
    aten.scatter.value: (0, 3),
    aten.scatter_add.default: (0, 3),
    aten.select.int: (0,),
    aten.slice.Tensor: (0,),
    aten.squeeze.dims: (0,),
    aten.sum.default: (0,),
    aten.sum.dim_IntList: (0,),
    aten.unfold.default: (0,),
    aten.unsqueeze.default: (0,),
    aten.view.default: (0,),
    aten.where.self: (1, 2),
}

COMPLEX: dict[OpOverload, Callable[..., Any]] = {
    **{operator: by_parts(operator, *data) for operator, data in _BY_PARTS.items()},
    aten._conj.default: conjugate,
    aten._conj_physical.default: conjugate,
    aten._to_copy.default: to_copy,
    aten.abs.default: absolute,
    aten.add.Scalar: add,
    aten.add.Tensor: add,
    aten.addmm.default: added_product_by(aten.mm.default),
    aten.angle.default: angle,
    aten.baddbmm.default: added_product_by(aten.bmm.default),
    aten.bmm.default: product_by(aten.bmm.default),
    aten.complex.default: Pair,
    aten.cos.default: cosine,
    aten.cosh.default: hyperbolic_cosine,
    aten.div.Scalar: divide,
    aten.div.Tensor: divide,
    aten.eq.Scalar: equal,
    aten.eq.Tensor: equal,
    aten.exp.default: exponential,
    aten.log.default: logarithm,
    aten.mm.default: product_by(aten.mm.default),
    aten.mul.Scalar: multiply,
    aten.mul.Tensor: multiply,
    aten.ne.Scalar: not_equal,
    aten.ne.Tensor: not_equal,
    aten.polar.default: polar,
    aten.pow.Tensor_Scalar: power,
    aten.reciprocal.default: reciprocal,
    aten.rsqrt.default: lambda x: reciprocal(square_root(x)),
    aten.rsub.Scalar: subtract_from,
    aten.sin.default: sine,
    aten.sinh.default: hyperbolic_sine,
    aten.sqrt.default: square_root,
    aten.sub.Scalar: subtract,
    aten.sub.Tensor: subtract,
    aten.tanh.default: hyperbolic_tangent,
    aten.view.dtype: view_dtype,
    aten.view_as_complex.default: pair_of,
    aten.view_as_real.default: Pair.joined,
}
