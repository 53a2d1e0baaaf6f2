"""Single kernels through generated code, on tensors that end where memory ends, against the specification."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from llvmlite import ir

from contraction_runs import PHASE, aligned, guarded
from tallystick.engine.arrays import NUMPY
from tallystick.engine.generate import emit_kernel
from tallystick.engine.kernel_function import make_self_contained
from tallystick.engine.machine_code import LoadedCode, compile_object
from tallystick.engine.target import Target, runnable
from tallystick.ir.builder import CodeBuilder
from tallystick.ir.verifier import verify_kernel
from tallystick.spec.instructions import Code
from tallystick.spec.kernels import Kernel, run_kernel
from tallystick.spec.tensors import DType, Tensor, TensorType

STEP = 7
SPECIAL = np.array(
    [
        *(0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000, 0xFF800000),
        *(0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x3F800000, 0xBF800000, 0x3F000000, 0x3EFFFFFF),
        *(0x3FC00000, 0x40200000, 0x4B000000, 0x4B000001, 0x4F000000, 0xCF000000, 0x4EFFFFFF, 0x33800000, 0x00000002),
        *(0x00000003, 0x0000001F, 0x00000020, 0x00000021, 0xFFFFFFFE, 0x34000000, 0x3F800001),
    ],
    np.uint32,
)
"""Words where floats and integers are at their edges."""


@cache
def all_targets() -> tuple[Target, ...]:
    """Every instruction set of this machine, unoptimised and optimised."""
    return tuple(Target(isa, level) for isa in runnable() for level in (0, 3))


def code(write: Callable[[CodeBuilder], Sequence[int] | int]) -> Code:
    """The code whose results a function of a builder returns."""
    builder = CodeBuilder()
    results = write(builder)
    return builder.build(*([results] if isinstance(results, int) else results))[0]


def dense(*shape: int) -> tuple[int, ...]:
    """Row-major strides."""
    return tuple(int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))


def words(*shape: int, seed: int = 0) -> np.ndarray:
    """Random int32 words."""
    return np.random.default_rng(seed).integers(0, 1 << 32, shape, dtype=np.uint32).view(np.int32)


def floats(*shape: int, seed: int = 0, special: float = 0.05) -> np.ndarray:
    """Normal numbers, some replaced by special values; every NaN is the canonical one."""
    rng = np.random.default_rng(seed)
    array = rng.standard_normal(shape).astype(np.float32)
    chosen = rng.random(shape) < special
    allowed = SPECIAL[:10]
    array[chosen] = rng.choice(allowed, int(chosen.sum())).view(np.float32)
    return array


def types_of(arrays: Sequence[np.ndarray]) -> list[TensorType]:
    """Types of arrays whose numpy type says their storage type."""
    dtypes = {numpy: dtype for dtype, numpy in NUMPY.items()}
    return [TensorType(dtypes[array.dtype], array.shape) for array in arrays]


class CompiledKernel:
    """Machine code of one kernel, called with its tasks in parts."""

    def __init__(self, kernel: Kernel, types: Sequence[TensorType], target: Target) -> None:
        self.kernel = kernel
        module = ir.Module()
        slots = tuple(types[view.value] for view in kernel.loads)
        self.function = emit_kernel(module, "kernel", kernel, slots, target)
        for function in module.functions:
            if function.blocks:
                make_self_contained(function)
        self.text = str(module)
        self._code = LoadedCode(compile_object(self.text, target), target)

    def run(self, arrays: Sequence[np.ndarray], parts: int) -> list[bytes]:
        """Outputs, from tasks done in so many parts, the last first. Nothing beyond an output is written."""
        outputs = [np.full(type.nbytes + 128, 0xAA, np.uint8) for type in self.kernel.output_types]
        shared, scratch = aligned(self.function.shared_bytes), aligned(self.function.scratch_bytes)
        with guarded(arrays) as inputs:
            tensors = [inputs[view.value] for view in self.kernel.loads]
            tensors += [output.ctypes.data + 64 for output in outputs]
            scatter = self.kernel.scatter
            if scatter is not None and scatter.base is not None:
                tensors.append(inputs[scatter.base])
            table = (ctypes.c_void_p * len(tensors))(*tensors)
            for phase in self.function.phases:
                call = PHASE(self._code.address(phase.function))
                for part in reversed(range(parts)):
                    lo, hi = part * phase.tasks // parts, (part + 1) * phase.tasks // parts
                    call(ctypes.addressof(table), lo, hi, STEP, shared.ctypes.data, scratch.ctypes.data)
        for output in outputs:
            assert (output[:64] == 0xAA).all() and (output[-64:] == 0xAA).all(), "written beyond the output"
        return [output[64:-64].tobytes() for output in outputs]


def specified(kernel: Kernel, arrays: Sequence[np.ndarray], types: Sequence[TensorType]) -> list[bytes]:
    """The outputs as the specification has them."""
    values = [Tensor(type, array.tobytes()) for type, array in zip(types, arrays, strict=True)]
    return [bytes(tensor.data) for tensor in run_kernel(kernel, values, STEP)]


def assert_as_specified(
    kernel: Kernel,
    arrays: Sequence[np.ndarray],
    targets: Sequence[Target] | None = None,
    types: Sequence[TensorType] | None = None,
) -> None:
    """Every target gives the specification's bits, tasks done in one part or in several."""
    types = types or types_of(arrays)
    verify_kernel(kernel, types)
    wanted = specified(kernel, arrays, types)
    for target in targets or all_targets():
        compiled = CompiledKernel(kernel, types, target)
        for parts in (1, 3):
            for number, (made, bits) in enumerate(zip(compiled.run(arrays, parts), wanted, strict=True)):
                size = kernel.outputs[number].size
                if made != bits:
                    width = {1: np.uint8, 2: np.uint16, 4: np.uint32}[size]
                    ours, theirs = np.frombuffer(made, width), np.frombuffer(bits, width)
                    at = int(np.flatnonzero(ours != theirs)[0])
                    raise AssertionError(
                        f"{target}, output {number}, element {at}: {ours[at]:#x}, specified {theirs[at]:#x}"
                    )


def as_type(dtype: DType, array: np.ndarray) -> np.ndarray:
    """Random bits of an array as another storage type."""
    if dtype == DType.BOOL:
        return (array & 1).astype(np.bool_)
    unsigned = {1: np.uint8, 2: np.uint16, 4: np.uint32}[dtype.size]
    return array.astype(unsigned).view(NUMPY[dtype])
