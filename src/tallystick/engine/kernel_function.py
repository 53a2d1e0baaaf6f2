"""How generated code is called: what the driver, the maps, folds, scatters and contractions agree on.

Every kernel becomes one or more *phases*, run in order with a barrier between them. A phase is a function

    void phase(ptr operands, i64 task_lo, i64 task_hi, i32 step, ptr shared, ptr scratch)

``operands``  table of pointers: one per load slot of the kernel (the value that ``kernel.loads[i]`` reads, repeated
              if two slots read one value), then one per output, then for a scatter with a base the base value.
              Values are dense row-major, aligned to at least their element size; never assume more.
``task_lo``, ``task_hi``
              the half-open range of tasks to do. A phase has ``tasks`` independent tasks, numbered from 0, which any
              thread may do in any order and any grouping: it may be called several times per thread, with any ranges
              that together cover every task once. What a task computes does not depend on the grouping.
``step``      the program's step number
``shared``    ``shared_bytes`` of memory that all threads and phases of this one kernel call share, 64-byte aligned,
              arbitrary contents at the start of the first phase
``scratch``   ``scratch_bytes`` of memory of this thread alone, 64-byte aligned, arbitrary contents

Outputs may be the very buffer of an input (an update in place) where every load of that input, in every phase, reads
exactly the element its own output point writes; a function must therefore load what a point needs before it stores
the point, and load nothing later from points it has stored. Contractions are never asked to work in place.

Floats in memory are never NaN other than 0x7fc00000, and every function keeps it so.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

POINTER = ir.PointerType()
I64 = ir.IntType(64)
I32 = ir.IntType(32)
PHASE_TYPE = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64, I32, POINTER, POINTER])


@dataclass(frozen=True, slots=True)
class Phase:
    """One function and how many tasks it has. ``cost`` is an estimate of all tasks' time on one thread, in ns."""

    function: str
    tasks: int
    cost: float


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """The code of a kernel. ``scratch_bytes`` is per thread, ``shared_bytes`` per call."""

    phases: tuple[Phase, ...]
    shared_bytes: int = 0
    scratch_bytes: int = 0


def declare_phase(module: ir.Module, name: str) -> ir.Function:
    """An empty phase function with its arguments named, in a module."""
    function = ir.Function(module, PHASE_TYPE, name)
    for argument, argument_name in zip(
        function.args, ("operands", "task_lo", "task_hi", "step", "shared", "scratch"), strict=True
    ):
        argument.name = argument_name
    make_self_contained(function)
    return function


def make_self_contained(function: ir.Function) -> None:
    """Keep LLVM from turning loops into calls of memcpy and memset: generated code calls nothing outside itself."""
    function.attributes.add("nounwind")
    set.add(function.attributes, '"no-builtins"')  # a string attribute, which llvmlite's own method does not know


def load_operand(builder: ir.IRBuilder, number: int) -> ir.Value:
    """The pointer at one place of the operand table of the function being built."""
    operands = builder.function.args[0]
    place = builder.gep(operands, [ir.Constant(I64, number)], source_etype=POINTER)
    return builder.load(place, typ=POINTER, align=8, name=f"operand{number}")
