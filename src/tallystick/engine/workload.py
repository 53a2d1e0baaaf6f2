"""What a kernel has to do at least: instructions and bytes, known before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tallystick.engine.contraction import match
from tallystick.engine.nest import make_nest
from tallystick.spec.instructions import SOURCES, Code, Op
from tallystick.spec.kernels import Kernel
from tallystick.spec.tensors import TensorType
from tallystick.spec.views import View

_FLOPS = {Op.FADD: 1, Op.FSUB: 1, Op.FMUL: 1, Op.FDIV: 1, Op.FSQRT: 1, Op.FFMA: 2}


@dataclass(frozen=True, slots=True)
class Workload:
    """The least work of one call of a kernel.

    ``operations``  scalar instructions that compute something
    ``flops``       binary32 sums, products, quotients and roots among them; a fused multiply-add is two
    ``read``, ``written``
                    bytes of the elements that are touched, each once, however often the kernel comes back to it
    """

    operations: int = 0
    flops: int = 0
    read: int = 0
    written: int = 0

    def __add__(self, other: Workload) -> Workload:
        return Workload(
            self.operations + other.operations,
            self.flops + other.flops,
            self.read + other.read,
            self.written + other.written,
        )


def workload(kernel: Kernel, types: Sequence[TensorType]) -> Workload:
    """The workload of a kernel. ``types``: of all values of its program."""
    runs = [(kernel.body, prod(kernel.out_shape) * prod(kernel.reduce_shape))]
    if kernel.fold is not None:
        outputs, steps = prod(kernel.out_shape), prod(kernel.reduce_shape)
        blocks = -(-steps // kernel.fold.block)
        merges = 0 if kernel.fold.scan else blocks * kernel.fold.lanes - 1
        runs.append((kernel.fold.merge, outputs * merges))
        runs.append((kernel.fold.epilogue, outputs * (steps if kernel.fold.scan else 1)))
    if kernel.scatter is not None and kernel.scatter.merge is not None:
        runs.append((kernel.scatter.merge, prod(kernel.out_shape)))
    read = _bytes_read(kernel, types)
    written = sum(type.nbytes for type in kernel.output_types)
    if kernel.scatter is not None:
        element = kernel.outputs[0].size
        placed = min(prod(kernel.out_shape), kernel.output_types[0].elements) * element
        read += placed if kernel.scatter.merge is not None else 0
        written = placed + (written if kernel.scatter.base is None else 0)  # with a base it is at best in place
    return Workload(
        sum(count * _operations(code) for code, count in runs),
        sum(count * _flops(code) for code, count in runs),
        read,
        written,
    )


def kind_of(kernel: Kernel, types: Sequence[TensorType]) -> str:
    """contraction, fold, scan, scatter or map: which part of the engine makes a kernel's code."""
    if kernel.scatter is not None:
        return "scatter"
    if kernel.fold is None:
        return "map"
    if kernel.fold.scan:
        return "scan"
    nest = make_nest(kernel, tuple(types[view.value] for view in kernel.loads))
    return "fold" if match(nest) is None else "contraction"


def _operations(code: Code) -> int:
    return sum(instruction.op not in SOURCES for instruction in code.instructions)


def _flops(code: Code) -> int:
    return sum(_FLOPS.get(instruction.op, 0) for instruction in code.instructions)


def _bytes_read(kernel: Kernel, types: Sequence[TensorType]) -> int:
    touched: dict[int, int] = {}
    for view in kernel.loads:
        touched[view.value] = touched.get(view.value, 0) + _elements_touched(kernel, view)
    return sum(min(count, types[value].elements) * types[value].dtype.size for value, count in touched.items())


def _elements_touched(kernel: Kernel, view: View) -> int:
    """At most: places that overlap, as a convolution's windows do, count once in a tensor's size at the latest."""
    extents = kernel.out_shape + kernel.reduce_shape
    if view.address.computed:
        return prod(extents)
    return prod(extent for extent, stride in zip(extents, view.address.strides, strict=True) if stride)
