"""Affine functions of a group of axes, seen as functions of one flattened index.

A contraction treats several axes of a kernel as one long axis (the images, rows and columns of a convolution's output
are one axis of 'output positions'). An address that is affine in the axes is then a sum of digits of the flattened
index; neighbouring axes that an address walks evenly merge into one digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from llvmlite import ir

from tallystick.engine.words import lanes_of, splat_constant


@dataclass(frozen=True, slots=True)
class Form:
    """sum of ``stride * digit`` over the digits of a flattened index; the last digit varies fastest.

    ``digits`` are (extent, stride) with extents above 1, none of which could merge with its neighbour.
    """

    digits: tuple[tuple[int, int], ...]

    @staticmethod
    def of(extents: Sequence[int], strides: Sequence[int]) -> Form:
        digits: list[tuple[int, int]] = []
        for extent, stride in zip(extents, strides, strict=True):
            if extent == 1:
                continue
            if digits and digits[-1][1] == stride * extent:
                digits[-1] = (digits[-1][0] * extent, stride)
            else:
                digits.append((extent, stride))
        return Form(tuple(digits))

    @property
    def run(self) -> int:
        """How many neighbours, from every multiple of this on, are ``stride`` apart each."""
        return self.digits[-1][0] if self.digits else 1

    @property
    def stride(self) -> int:
        """Between neighbours in a run."""
        return self.digits[-1][1] if self.digits else 0

    @property
    def is_zero(self) -> bool:
        return all(stride == 0 for _, stride in self.digits)

    @property
    def is_linear(self) -> bool:
        """Whether it is ``stride`` times the index."""
        return len(self.digits) <= 1

    @property
    def lowest(self) -> int:
        return sum(min(0, (extent - 1) * stride) for extent, stride in self.digits)

    @property
    def highest(self) -> int:
        return sum(max(0, (extent - 1) * stride) for extent, stride in self.digits)

    def at(self, index: int) -> int:
        """The value at a flattened index."""
        total = 0
        for extent, stride in reversed(self.digits):
            index, digit = divmod(index, extent)
            total += stride * digit
        return total


def emit_form(builder: ir.IRBuilder, form: Form, index: ir.Value) -> ir.Value:
    """The value of a form at a flattened index, which is not negative: an integer scalar or vector of any width.

    An index past the end yields some value without a trap.
    """
    lanes = lanes_of(index)
    element = index.type.element if lanes > 1 else index.type

    def constant(number: int) -> ir.Constant:
        return splat_constant(element, number, lanes)

    inner = prod(extent for extent, _ in form.digits)
    outermost = True
    total: ir.Value | None = None
    for extent, stride in form.digits:
        inner //= extent
        if stride:
            digit = index if inner == 1 else builder.udiv(index, constant(inner))
            if not outermost:
                digit = builder.urem(digit, constant(extent))
            term = digit if stride == 1 else builder.mul(digit, constant(stride))
            total = term if total is None else builder.add(total, term)
        outermost = False
    return constant(0) if total is None else total
