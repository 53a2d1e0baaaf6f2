"""Contractions of every kind as kernels, and their machine code run on tensors that end where memory ends."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from llvmlite import ir

from tallystick.engine.contraction import Contraction, match
from tallystick.engine.contraction_kernel import emit_contraction
from tallystick.engine.kernel_function import make_self_contained
from tallystick.engine.machine_code import LoadedCode, compile_object
from tallystick.engine.nest import make_nest
from tallystick.engine.target import Target
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import Code, execute
from tallystick.spec.kernels import Fold, Kernel, StepEnvironment, TensorWords, fold_element, store_all
from tallystick.spec.tensors import DType, Tensor, TensorType
from tallystick.spec.views import Address, Guard, View

PHASE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p
)
NUMPY = {
    DType.F32: np.float32,
    DType.I32: np.int32,
    DType.U8: np.uint8,
    DType.I8: np.int8,
    DType.BOOL: np.bool_,
    DType.BF16: np.uint16,
    DType.F16: np.uint16,
}


# KERNELS


def ffma_body() -> Code:
    b = CodeBuilder()
    return b.build(b.ffma(b.load(0), b.load(1), b.acc()))[0]


def sum_merge() -> Code:
    b = CodeBuilder()
    return b.build(b.fadd(b.acc(0), b.acc(1)))[0]


def plain_epilogue() -> Code:
    b = CodeBuilder()
    return b.build(b.acc())[0]


def contraction(
    out_shape: Sequence[int],
    reduce_shape: Sequence[int],
    loads: Sequence[View],
    block: int = 512,
    epilogue: Code | None = None,
    outputs: Sequence[DType] = (DType.F32,),
) -> Kernel:
    """A contraction of the first two loads, which read values 0 and 1."""
    fold = Fold((0,), 1, block, sum_merge(), epilogue or plain_epilogue())
    return Kernel(tuple(out_shape), tuple(reduce_shape), tuple(loads), ffma_body(), tuple(outputs), fold)


def matmul_views(m: int, n: int, k: int, a_across: bool = False, b_across: bool = False) -> tuple[View, View]:
    """A (m, k) and B (k, n), or their transposes, over the axes (m, n, k)."""
    a = Address(0, (1, 0, m) if a_across else (k, 0, 1))
    b = Address(0, (0, k, 1) if b_across else (0, 1, n))
    return View(0, a), View(1, b)


def batched_views(batch: int, m: int, n: int, k: int) -> tuple[View, View]:
    """A (batch, m, k) and B (batch, k, n) over the axes (batch, m, n, k)."""
    return View(0, Address(0, (m * k, k, 0, 1))), View(1, Address(0, (k * n, 0, 1, n)))


class Convolution:
    """A convolution of x (n, c, h, w) with o filters (o, c, k, k), and its gradients.

    Each of ``forward``, ``input_gradient`` (stride 1 only) and ``weight_gradient`` is (output shape, reduce shape,
    views, shapes of the two operands).
    """

    def __init__(self, n: int, c: int, h: int, w: int, o: int, k: int, stride: int = 1, padding: int = 0) -> None:
        self.rows, self.columns = (h + 2 * padding - k) // stride + 1, (w + 2 * padding - k) // stride + 1
        self.n, self.c, self.h, self.w, self.o, self.k, self.s, self.p = n, c, h, w, o, k, stride, padding
        self.x, self.y, self.weight = (n, c, h, w), (n, o, self.rows, self.columns), (o, c, k, k)

    @property
    def forward(self):
        c, h, w, k, s, p = self.c, self.h, self.w, self.k, self.s, self.p
        guards = (Guard(-p, (0, 0, s, 0, 0, 1, 0), h), Guard(-p, (0, 0, 0, s, 0, 0, 1), w))
        x = Address(-p * w - p, (c * h * w, 0, s * w, s, h * w, w, 1), (), guards)
        weight = Address(0, (0, c * k * k, 0, 0, k * k, k, 1))
        return self.y, (c, k, k), (View(0, x), View(1, weight)), (self.x, self.weight)

    @property
    def input_gradient(self):
        assert self.s == 1
        c, o, k, p, rows, columns = self.c, self.o, self.k, self.p, self.rows, self.columns
        guards = (Guard(p, (0, 0, 1, 0, 0, -1, 0), rows), Guard(p, (0, 0, 0, 1, 0, 0, -1), columns))
        strides = (o * rows * columns, 0, columns, 1, rows * columns, -columns, -1)
        gradient = Address(p * columns + p, strides, (), guards)
        weight = Address(0, (0, k * k, 0, 0, c * k * k, k, 1))
        return self.x, (o, k, k), (View(0, gradient), View(1, weight)), (self.y, self.weight)

    @property
    def weight_gradient(self):
        c, h, w, o, s, p, rows, columns = self.c, self.h, self.w, self.o, self.s, self.p, self.rows, self.columns
        guards = (Guard(-p, (0, 0, 1, 0, 0, s, 0), h), Guard(-p, (0, 0, 0, 1, 0, 0, s), w))
        gradient = Address(0, (rows * columns, 0, 0, 0, o * rows * columns, columns, 1))
        x = Address(-p * w - p, (0, h * w, w, 1, c * h * w, s * w, s), (), guards)
        return self.weight, (self.n, rows, columns), (View(0, gradient), View(1, x)), (self.y, self.x)


# RUNS


def matched(kernel: Kernel, types: Sequence[TensorType]) -> Contraction | None:
    return match(make_nest(kernel, tuple(types[view.value] for view in kernel.loads)))


def run_code(
    kernel: Kernel, operands: Sequence[np.ndarray], types: Sequence[TensorType], target: Target, parts: int = 1
) -> list[np.ndarray]:
    """The outputs that generated code makes, doing each phase's tasks in so many parts, the last part first."""
    found = matched(kernel, types)
    assert found is not None, "the kernel is a contraction"
    module = ir.Module()
    function = emit_contraction(module, "kernel", found, target)
    for emitted in module.functions:
        if emitted.blocks:
            make_self_contained(emitted)
    code = LoadedCode(compile_object(str(module), target), target)
    outputs = [np.zeros(type.shape, NUMPY[type.dtype]) for type in kernel.output_types]
    shared, scratch = aligned(function.shared_bytes), aligned(function.scratch_bytes)
    with guarded(operands) as inputs:
        tensors = [inputs[view.value] for view in kernel.loads] + [output.ctypes.data for output in outputs]
        table = (ctypes.c_void_p * len(tensors))(*tensors)
        for phase in function.phases:
            call = PHASE(code.address(phase.function))
            for part in reversed(range(parts)):
                lo, hi = part * phase.tasks // parts, (part + 1) * phase.tasks // parts
                scratch[:] = 0xFF  # scratch starts with anything
                call(ctypes.addressof(table), lo, hi, 0, shared.ctypes.data, scratch.ctypes.data)
    return outputs


def aligned(nbytes: int) -> np.ndarray:
    """Bytes from a multiple of 64 on, all ones: NaNs, if read as floats."""
    room = np.full(nbytes + 64, 0xFF, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + nbytes]


@contextmanager
def guarded(arrays: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """Addresses of copies whose last byte is the last of a page that an unreadable one follows."""
    page = mmap.PAGESIZE
    protect = ctypes.CDLL(None).mprotect
    rooms: list[mmap.mmap] = []
    addresses: list[int] = []
    for array in arrays:
        data = np.ascontiguousarray(array).tobytes()
        size = -(-len(data) // page) * page
        room = mmap.mmap(-1, size + page)
        room[size - len(data) : size] = data
        start = ctypes.addressof(ctypes.c_char.from_buffer(room))
        assert protect(ctypes.c_void_p(start + size), ctypes.c_size_t(page), 0) == 0
        rooms.append(room)
        addresses.append(start + size - len(data))
    yield addresses


def specified(
    kernel: Kernel, operands: Sequence[np.ndarray], types: Sequence[TensorType], points: Sequence[tuple[int, ...]]
) -> list[list[int]]:
    """The output bits that the specification gives at some points."""
    values = [Tensor(type, np.ascontiguousarray(array).tobytes()) for type, array in zip(types, operands, strict=True)]
    assert kernel.fold is not None
    results: list[list[int]] = []
    for point in points:
        total = fold_element(kernel, kernel.fold, values, 0, point)
        indices = point + (0,) * len(kernel.reduce_shape)
        words = execute(kernel.fold.epilogue, StepEnvironment(indices, 0, TensorWords(kernel, values), total))
        cells = [Tensor(TensorType(dtype, (1,))) for dtype in kernel.outputs]
        store_all(cells, 0, words)
        results.append([int.from_bytes(cell.data, "little") for cell in cells])
    return results


def bits(array: np.ndarray) -> np.ndarray:
    """The storage bits of every element."""
    return array.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[array.itemsize])


def assert_as_specified(
    kernel: Kernel,
    operands: Sequence[np.ndarray],
    types: Sequence[TensorType],
    targets: Sequence[Target],
    seed: int,
    samples: int = 8,
) -> None:
    """All targets and any grouping of tasks give the same bits, those of the specification at sampled points."""
    rng = np.random.default_rng(seed)
    first = run_code(kernel, operands, types, targets[0], int(rng.integers(1, 5)))
    for target in targets[1:]:
        other = run_code(kernel, operands, types, target, int(rng.integers(1, 5)))
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(bits(a), bits(b), str(target))
    corners = {tuple(0 for _ in kernel.out_shape), tuple(extent - 1 for extent in kernel.out_shape)}
    inside = {tuple(int(rng.integers(0, extent)) for extent in kernel.out_shape) for _ in range(samples)}
    points = sorted(corners | inside)
    for point, words in zip(points, specified(kernel, operands, types, points), strict=True):
        assert [int(bits(output)[point]) for output in first] == words, f"at {point}"


def random_operand(type: TensorType, rng: np.random.Generator) -> np.ndarray:
    """Normal numbers, and in half of all tensors a few special ones: too few to make most results NaN."""
    array = rng.standard_normal(type.shape).astype(np.float32)
    flat = array.reshape(-1)
    special = np.array([0.0, -0.0, np.inf, -np.inf, 1e-42, -1e-45, 3e38], np.float32)
    if rng.random() < 0.5:
        flat[rng.integers(0, flat.size, 4)] = rng.choice(special, 4)
        flat[rng.integers(0, flat.size)] = np.array(0x7FC00000, np.uint32).view(np.float32)
    match type.dtype:
        case DType.F32:
            return array
        case DType.BF16:
            return (array.view(np.uint32) >> 16).astype(np.uint16)
        case DType.F16:
            with np.errstate(over="ignore"):
                return array.astype(np.float16).view(np.uint16)
        case _:
            return rng.integers(-100, 100, type.shape).astype(NUMPY[type.dtype])
