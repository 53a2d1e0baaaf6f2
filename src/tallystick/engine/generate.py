"""From a program to LLVM IR: one function per structure of kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llvmlite import ir

from tallystick.engine import contraction
from tallystick.engine.contraction_kernel import emit_contraction
from tallystick.engine.dataflow import Dataflow, Group
from tallystick.engine.driver import driver_text
from tallystick.engine.folds import emit_fold
from tallystick.engine.group_function import emit_group
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


def generate(program: Program, target: Target, groups: Sequence[Group] = ()) -> tuple[str, KernelCode]:
    """The LLVM IR of a program's kernels and their driver. The program has been verified.

    Kernels of a group exist as the group's function only, which is the function of each of them.
    """
    module = ir.Module("tallystick")
    types = program.value_types
    made: dict[object, KernelFunction] = {}

    def make(kernel: Kernel, slots: tuple[TensorType, ...]) -> KernelFunction:
        structure = structure_of(kernel, slots)
        if structure not in made:
            made[structure] = emit_kernel(module, f"kernel{len(made)}", kernel, slots, target)
        return made[structure]

    flow = Dataflow(program, tuple(groups))
    grouped: dict[int, KernelFunction] = {}
    for number, group in enumerate(groups):
        function = emit_group(module, f"group{number}", program, flow.outputs, group, make)
        grouped |= dict.fromkeys(group.kernels, function)
    used: dict[KernelFunction, int] = {}
    function_of: list[int] = []
    for number, kernel in enumerate(program.kernels):
        function = grouped.get(number) or make(kernel, tuple(types[view.value] for view in kernel.loads))
        function_of.append(used.setdefault(function, len(used)))
    for function in module.functions:
        if function.blocks:
            make_self_contained(function)
    return str(module) + driver_text(target), KernelCode(tuple(used), tuple(function_of))


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
