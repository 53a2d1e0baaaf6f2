"""Leaving out of a program what nobody reads: kernels, outputs of kernels, and the code that only they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tallystick.spec.instructions import Code, Instruction, Op
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.views import View


def values_read(kernel: Kernel) -> list[int]:
    """Every value a kernel reads, one entry per load."""
    values = [view.value for view in kernel.loads]
    if kernel.scatter is not None and kernel.scatter.base is not None:
        values.append(kernel.scatter.base)
    return values


def with_values(kernel: Kernel, numbers: Sequence[int]) -> Kernel:
    """The kernel reading value ``numbers[v]`` where it read value v."""
    loads = tuple(replace(view, value=numbers[view.value]) for view in kernel.loads)
    scatter = kernel.scatter
    if scatter is not None and scatter.base is not None:
        scatter = replace(scatter, base=numbers[scatter.base])
    return replace(kernel, loads=loads, scatter=scatter)


def pruned(program: Program, sources: Sequence[str]) -> tuple[Program, list[str]]:
    """The program without outputs that nobody reads, and the source of every kernel that is left."""
    given = len(program.states) + len(program.constants)
    firsts: list[int] = []
    first = given
    for kernel in program.kernels:
        firsts.append(first)
        first += len(kernel.outputs)
    needed = set(program.next_state)
    left: list[tuple[int, Kernel, list[int]]] = []  # place, kernel, numbers of its outputs; from the last to the first
    for place in reversed(range(len(program.kernels))):
        kernel = program.kernels[place]
        kept = [number for number in range(len(kernel.outputs)) if firsts[place] + number in needed]
        if kept:
            kernel = with_outputs(kernel, kept)
            needed.update(values_read(kernel))
            left.append((place, kernel, [firsts[place] + number for number in kept]))
    numbers = list(range(given)) + [-1] * (first - given)
    kernels: list[Kernel] = []
    following = given
    for _, kernel, outputs in reversed(left):
        kernels.append(with_values(kernel, numbers))
        for output in outputs:
            numbers[output] = following
            following += 1
    next_state = tuple(numbers[value] for value in program.next_state)
    kept_sources = [sources[place] for place, _, _ in reversed(left)]
    return replace(program, kernels=tuple(kernels), next_state=next_state), kept_sources


def with_outputs(kernel: Kernel, kept: Sequence[int]) -> Kernel:
    """A kernel with only some of its outputs, and only the code and loads that these need."""
    if len(kept) == len(kernel.outputs):
        return kernel
    outputs = tuple(kernel.outputs[number] for number in kept)
    if kernel.fold is None:
        kernel = replace(kernel, outputs=outputs, body=_only(kernel.body, kept))
    else:
        fold = replace(kernel.fold, epilogue=_only(kernel.fold.epilogue, kept))
        kernel = replace(kernel, outputs=outputs, fold=fold)
    return _without_dead_code(kernel)


def _only(code: Code, results: Sequence[int]) -> Code:
    return Code(code.instructions, tuple(code.results[number] for number in results))


def _without_dead_code(kernel: Kernel) -> Kernel:
    """A map or fold without the instructions that no result needs, and without the loads of those."""
    codes = [kernel.body] if kernel.fold is None else [kernel.body, kernel.fold.epilogue]
    live = [_live_registers(code, kernel.loads) for code in codes]
    slots = sorted(
        code.instructions[register].imm
        for code, registers in zip(codes, live, strict=True)
        for register in registers
        if code.instructions[register].op is Op.LOAD
    )
    places = {slot: place for place, slot in enumerate(slots)}
    loads = {slot: kernel.loads[slot] for slot in slots}
    smaller: list[Code] = []
    for code, registers in zip(codes, live, strict=True):
        numbers = {register: number for number, register in enumerate(registers)}
        instructions: list[Instruction] = []
        for register in registers:
            instruction = code.instructions[register]
            args = tuple(numbers[argument] for argument in instruction.args)
            imm = instruction.imm
            if instruction.op is Op.LOAD:
                imm = places[imm]
                address = loads[instruction.imm].address
                computed = tuple((stride, numbers[index]) for stride, index in address.computed)
                loads[instruction.imm] = replace(loads[instruction.imm], address=replace(address, computed=computed))
            instructions.append(replace(instruction, args=args, imm=imm))
        smaller.append(Code(tuple(instructions), tuple(numbers[result] for result in code.results)))
    fold = kernel.fold if kernel.fold is None else replace(kernel.fold, epilogue=smaller[1])
    return replace(kernel, loads=tuple(loads[slot] for slot in slots), body=smaller[0], fold=fold)


def _live_registers(code: Code, loads: Sequence[View]) -> list[int]:
    """The registers that a code's results need, ascending."""
    live: set[int] = set()
    pending = list(code.results)
    while pending:
        register = pending.pop()
        if register in live:
            continue
        live.add(register)
        instruction = code.instructions[register]
        pending.extend(instruction.args)
        if instruction.op is Op.LOAD:
            pending.extend(index for _, index in loads[instruction.imm].address.computed)
    return sorted(live)
