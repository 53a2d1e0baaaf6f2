"""Small programs of the kinds people compute, written by hand for tests that need to know what is in them."""

from __future__ import annotations

from collections.abc import Callable

from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import Code
from tallystick.spec.kernels import Fold, Kernel, Scatter
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View


def f32(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def i32(*shape: int) -> TensorType:
    return TensorType(DType.I32, shape)


def code(write: Callable[[CodeBuilder], int]) -> Code:
    """Code of one result."""
    builder = CodeBuilder()
    return builder.build(write(builder))[0]


MULTIPLY_ADD = code(lambda b: b.ffma(b.load(0), b.load(1), b.acc()))
ADD = code(lambda b: b.fadd(b.acc(0), b.acc(1)))
TOTAL = code(lambda b: b.acc())
COPY = code(lambda b: b.load(0))
CONTRACTION = Fold((0,), 1, 512, ADD, TOTAL)


def matmul(m: int, n: int, k: int, a: int = 0, b: int = 1) -> Kernel:
    """(m, k) @ (k, n)"""
    loads = (View(a, Address(0, (k, 0, 1))), View(b, Address(0, (0, 1, n))))
    return Kernel((m, n), (k,), loads, MULTIPLY_ADD, (DType.F32,), CONTRACTION)


def convolution(
    image: tuple[int, int, int, int], filters: tuple[int, int, int, int], stride: int, dilation: int, padding: int
) -> Kernel:
    """Value 0 of shape (N, C, H, W) with value 1 of shape (O, C, K, K); padding by guards on rows and columns."""
    n, c, h, w = image
    o, _, k, _ = filters
    rows = (h + 2 * padding - dilation * (k - 1) - 1) // stride + 1
    columns = (w + 2 * padding - dilation * (k - 1) - 1) // stride + 1
    guards = (
        Guard(-padding, (0, 0, stride, 0, 0, dilation, 0), h),
        Guard(-padding, (0, 0, 0, stride, 0, 0, dilation), w),
    )
    strides = (c * h * w, 0, stride * w, stride, h * w, dilation * w, dilation)
    pixel = Address(-padding * w - padding, strides, (), guards)
    weight = Address(0, (0, c * k * k, 0, 0, k * k, k, 1))
    shape = (n, o, rows, columns)
    return Kernel(shape, (c, k, k), (View(0, pixel), View(1, weight)), MULTIPLY_ADD, (DType.F32,), CONTRACTION)


def cumulative_sum(rows: int, length: int) -> Kernel:
    """Along the rows of value 0."""
    body = code(lambda b: b.fadd(b.acc(), b.load(0)))
    view = View(0, Address(0, (length, 1)))
    return Kernel((rows,), (length,), (view,), body, (DType.F32,), Fold((0,), 1, length, ADD, TOTAL, scan=True))


def embedding_gradient(rows: int, columns: int, tokens: int) -> Kernel:
    """Adds row t of value 1 (tokens, columns) to the row of the output that value 0 (tokens) names."""
    builder = CodeBuilder()
    token, word = builder.load(0), builder.load(1)
    body, place = builder.build(word, keep=(token,))
    loads = (View(0, Address(0, (1, 0))), View(1, Address(0, (columns, 1))))
    address = Address(0, (0, 1), ((columns, place[token]),))
    scatter = Scatter((rows, columns), None, 0, address, ADD)
    return Kernel((tokens, columns), (), loads, body, (DType.F32,), None, scatter)


def double(count: int) -> Kernel:
    """Value 0 plus itself."""
    body = code(lambda b: b.fadd(b.load(0), b.load(0)))
    return Kernel((count,), (), (View(0, Address(0, (1,))),), body, (DType.F32,))


def program(states: tuple[TensorType, ...], constants: tuple[TensorType, ...], *kernels: Kernel) -> Program:
    """A program whose state never changes: for what does not look at the next state."""
    return Program(states, constants, kernels, tuple(range(len(states))))


MATMUL = Program((f32(3, 3),), (f32(3, 3),), (matmul(3, 3, 3),), (2,))
CONVOLUTION = program((f32(2, 3, 5, 6),), (f32(4, 3, 3, 3),), convolution((2, 3, 5, 6), (4, 3, 3, 3), 2, 2, 2))
CUMULATIVE_SUM = Program((f32(2, 7),), (), (cumulative_sum(2, 7),), (1,))
EMBEDDING_GRADIENT = program((i32(6),), (f32(6, 5),), embedding_gradient(4, 5, 6))
ALL = {
    "matmul": MATMUL,
    "convolution": CONVOLUTION,
    "cumulative sum": CUMULATIVE_SUM,
    "embedding gradient": EMBEDDING_GRADIENT,
}
