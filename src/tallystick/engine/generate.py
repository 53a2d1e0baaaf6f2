"""From a program to LLVM IR: one function per structure of kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llvmlite import ir

from tallystick.engine import contraction
from tallystick.engine.contraction_kernel import emit_contraction
from tallystick.engine.driver import driver_text
from tallystick.engine.folds import emit_fold
from tallystick.engine.kernel_function import KernelFunction, make_self_contained
from tallystick.engine.maps import emit_map
from tallystick.engine.nest import make_nest
from tallystick.engine.scans import emit_scan
from tallystick.engine.scatters import emit_scatter
from tallystick.engine.target import Target
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import TensorType


@dataclass(frozen=True, slots=True)
class KernelCode:
    """What the planner knows of a program's code: its functions, and which of them each kernel calls."""

    functions: tuple[KernelFunction, ...]
    function_of: tuple[int, ...]

    def of(self, kernel: int) -> KernelFunction:
        return self.functions[self.function_of[kernel]]


def generate(program: Program, target: Target) -> tuple[str, KernelCode]:
    """The LLVM IR of a program's kernels and their driver. The program has been verified."""
    module = ir.Module("tallystick")
    types = program.value_types
    places: dict[object, int] = {}
    functions: list[KernelFunction] = []
    function_of: list[int] = []
    for kernel in program.kernels:
        slots = tuple(types[view.value] for view in kernel.loads)
        structure = structure_of(kernel, slots)
        if structure not in places:
            places[structure] = len(functions)
            functions.append(emit_kernel(module, f"kernel{len(functions)}", kernel, slots, target))
        function_of.append(places[structure])
    for function in module.functions:
        if function.blocks:
            make_self_contained(function)
    return str(module) + driver_text(target), KernelCode(tuple(functions), tuple(function_of))


def structure_of(kernel: Kernel, slots: tuple[TensorType, ...]) -> object:
    """What two kernels share if the same code runs both: everything but which values they read."""
    scatter = kernel.scatter
    if scatter is not None and scatter.base is not None:
        scatter = replace(scatter, base=0)
    loads = tuple(replace(view, value=0) for view in kernel.loads)
    sizes = tuple((slot.dtype, slot.elements) for slot in slots)
    return replace(kernel, loads=loads, scatter=scatter), sizes


def emit_kernel(
    module: ir.Module, name: str, kernel: Kernel, slots: Sequence[TensorType], target: Target
) -> KernelFunction:
    """The functions of one kernel."""
    nest = make_nest(kernel, tuple(slots))
    if kernel.scatter is not None:
        return emit_scatter(module, name, nest, target)
    if kernel.fold is None:
        return emit_map(module, name, nest, target)
    if kernel.fold.scan:
        return emit_scan(module, name, nest, target)
    matched = contraction.match(nest)
    if matched is not None:
        return emit_contraction(module, name, matched, target)
    return emit_fold(module, name, nest, target)
