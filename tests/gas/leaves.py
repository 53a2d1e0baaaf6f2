"""Scalar steps whose price is worth knowing: typical ones, and the worst that a valid program can have."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gas.scenes import Scene, Size, packed, words_of
from gas.trees import with_elements
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import Code
from tallystick.spec.kernels import Fold, Kernel
from tallystick.spec.scalar_steps import Work, scalar_step, scalar_steps
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, View

F32 = DType.F32
DIRT = packed(words_of(64, "what else is in a chunk"))


def code(write: Callable[[CodeBuilder], Sequence[int]]) -> Code:
    builder = CodeBuilder()
    return builder.build(*write(builder))[0]


# TYPICAL


def matmul(rows: int, inner: int, columns: int, left: int = 2_000, right: int = 5, bias: int = 6) -> Kernel:
    """(rows, inner) @ (inner, columns) + bias (columns): a chain of ffma in blocks of 512."""
    return Kernel(
        (rows, columns),
        (inner,),
        (
            View(left, Address(0, (inner, 0, 1))),
            View(right, Address(0, (0, 1, columns))),
            View(bias, Address(0, (0, 1, 0))),
        ),
        code(lambda b: [b.ffma(b.load(0), b.load(1), b.acc(0))]),
        (F32,),
        Fold(
            (0,),
            1,
            512,
            code(lambda b: [b.fadd(b.acc(0), b.acc(1))]),
            code(lambda b: [b.fadd(b.acc(0), b.load(2))]),
        ),
    )


def matmul_step(rows: int, inner: int, columns: int, size: Size, work: Work = Work.UPDATE) -> Scene:
    """A scalar step in the middle of an element of a matrix product."""
    kernel = matmul(rows, inner, columns)
    row, column = rows * 2 // 3, columns // 3
    element = row * columns + column
    steps = range(scalar_steps(kernel, element) // 2 + 1, scalar_steps(kernel, element))
    position = next(n for n in steps if scalar_step(kernel, element, n).work is work)
    point = scalar_step(kernel, element, position).point
    floats = (0x3F8CCCCD, 0xBF123456, 0x3C23D70A)
    places = (row * inner + point, point * columns + column, column)
    shapes = ((rows, inner), (inner, columns), (columns,))
    tensors = {
        view.value: with_elements(TensorType(F32, shape), {place: word}, DIRT)
        for view, shape, place, word in zip(kernel.loads, shapes, places, floats, strict=True)
    }
    return Scene(kernel, element, position, (0x3DCCCCCD, 0xBE99999A), tensors, size)
