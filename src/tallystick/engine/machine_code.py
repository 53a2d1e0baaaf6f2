"""From LLVM IR text to machine code in memory."""

from __future__ import annotations

import llvmlite.binding as llvm

from tallystick.engine.target import Target


def compile_object(text: str, target: Target) -> bytes:
    """The object file of a module given as LLVM IR text."""
    machine = target.machine()
    module = llvm.parse_assembly(text)
    module.verify()
    optimise(module, machine, target)
    return machine.emit_object(module)


def compile_assembly(text: str, target: Target) -> str:
    """The same as assembly text, to look at."""
    machine = target.machine()
    module = llvm.parse_assembly(text)
    optimise(module, machine, target)
    return machine.emit_assembly(module)


def optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine, target: Target) -> None:
    """LLVM's passes in place. Code is emitted as vectors already: its own vectorisers would only take time."""
    if target.opt_level == 0:
        return
    options = llvm.create_pipeline_tuning_options(speed_level=target.opt_level)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)


class LoadedCode:
    """Functions of an object file, ready to be called for as long as this object lives."""

    def __init__(self, object_bytes: bytes, target: Target) -> None:
        empty = llvm.parse_assembly("")
        # llvmlite's memory manager keeps an object's code and constants together, as the small code model needs.
        self._engine = llvm.create_mcjit_compiler(empty, target.machine(), use_lmm=True)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(object_bytes))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Where a function is."""
        address = self._engine.get_function_address(name)
        assert address != 0, f"{name} is in the object"
        return address
