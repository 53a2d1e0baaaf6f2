"""Programs as readable text.

    state %0 model.weight: f32[64, 32]
    constant %1 data.x: f32[1797, 64]

    kernel 0 fold: [128, 32] over [64], 1 lane, blocks of 512 -> %2 f32[128, 32]; work 786432; net.py:7 forward: fc(x)
      r0 = load %1[o0*64 + k0]
      r1 = load %0[o1 + k0*32]
      r2 = acc 0
      r3 = ffma r0 r1 r2
      yield r3
      merge
        ...

    next %0 = %2

Values are ``%n``, registers ``rn``, output axes ``o0, o1, ..`` and reduce axes ``k0, k1, ..``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tallystick.ir.accounting import kernel_work, program_work
from tallystick.spec.instructions import FLOAT_OPERANDS, Code, Instruction, Op
from tallystick.spec.kernels import Fold, Kernel, Scatter
from tallystick.spec.programs import Program
from tallystick.spec.tensors import TensorType
from tallystick.spec.views import Address, View


def format_program(
    program: Program, sources: Sequence[str] | None = None, names: Sequence[str] | None = None, bodies: bool = True
) -> str:
    """The text of a program.

    ``sources`` gives one text per kernel, ``names`` one per state slot and constant; without ``bodies`` a kernel is
    its header line and the elements it reads and writes.
    """
    return "\n".join(program_lines(program, sources, names, bodies)) + "\n"


def program_lines(
    program: Program, sources: Sequence[str] | None, names: Sequence[str] | None, bodies: bool
) -> Iterator[str]:
    for number, type in enumerate((*program.states, *program.constants)):
        slot = "state" if number < len(program.states) else "constant"
        name = f" {names[number]}" if names is not None else ""
        yield f"{slot} %{number}{name}: {format_type(type)}"
    value = len(program.states) + len(program.constants)
    for number, kernel in enumerate(program.kernels):
        source = f"; {sources[number]}" if sources is not None else ""
        yield ""
        yield f"kernel {number} {format_head(kernel, value)}; work {kernel_work(kernel)}{source}"
        yield from indent(body_lines(kernel) if bodies else summary_lines(kernel))
        value += len(kernel.outputs)
    yield ""
    for slot, number in enumerate(program.next_state):
        if slot != number:
            yield f"next %{slot} = %{number}"
    yield f"work of one step: {program_work(program)}"


def format_head(kernel: Kernel, value: int) -> str:
    """Kind, shapes and outputs of a kernel whose first output has number ``value``."""
    shape = list(kernel.out_shape)
    if kernel.scatter is not None:
        kind = f"scatter: {shape}"
    elif kernel.fold is None:
        kind = f"map: {shape}"
    elif kernel.fold.scan:
        kind = f"scan: {shape} along {list(kernel.reduce_shape)}"
    else:
        lanes = f"{kernel.fold.lanes} lane" + "s" * (kernel.fold.lanes > 1)
        kind = f"fold: {shape} over {list(kernel.reduce_shape)}, {lanes}, blocks of {kernel.fold.block}"
    made = ", ".join(f"%{value + i} {format_type(type)}" for i, type in enumerate(kernel.output_types))
    return f"{kind} -> {made}"


def format_type(type: TensorType) -> str:
    return f"{type.dtype.name.lower()}{list(type.shape)}"


def summary_lines(kernel: Kernel) -> Iterator[str]:
    """What a kernel reads and writes, without how it computes."""
    for view in kernel.loads:
        yield f"reads {format_view(view, kernel)}"
    if kernel.scatter is not None:
        yield from scatter_lines(kernel, kernel.scatter, merge=False)


def body_lines(kernel: Kernel) -> Iterator[str]:
    """Everything a kernel computes."""
    yield from code_lines(kernel.body, kernel)
    if kernel.fold is not None:
        yield from fold_lines(kernel, kernel.fold)
    if kernel.scatter is not None:
        yield from scatter_lines(kernel, kernel.scatter, merge=True)


def fold_lines(kernel: Kernel, fold: Fold) -> Iterator[str]:
    yield f"init {' '.join(format_word(word, True) for word in fold.init)}"
    if not fold.scan:
        yield "merge"
        yield from indent(code_lines(fold.merge, kernel))
    yield "epilogue"
    yield from indent(code_lines(fold.epilogue, kernel))


def scatter_lines(kernel: Kernel, scatter: Scatter, merge: bool) -> Iterator[str]:
    start = f"a copy of %{scatter.base}" if scatter.base is not None else format_word(scatter.fill, True)
    yield f"starts as {start}"
    how = "merged into" if scatter.merge is not None else "placed in"
    yield f"{how} [{format_address(scatter.address, kernel)}]{format_guards(scatter.address, kernel)}"
    if merge and scatter.merge is not None:
        yield from indent(code_lines(scatter.merge, kernel))


def code_lines(code: Code, kernel: Kernel) -> Iterator[str]:
    """One line per instruction and one for the results."""
    floats = {
        register
        for instruction in code.instructions
        if instruction.op in FLOAT_OPERANDS
        for register in instruction.args
    }
    for register, instruction in enumerate(code.instructions):
        yield f"r{register} = {format_instruction(instruction, kernel, register in floats)}"
    yield f"yield {' '.join(f'r{register}' for register in code.results)}"


def format_instruction(instruction: Instruction, kernel: Kernel, is_float: bool) -> str:
    name = instruction.op.name.lower()
    match instruction.op:
        case Op.CONST:
            return f"const {format_word(instruction.imm, is_float)}"
        case Op.INDEX:
            return f"index {axis_name(kernel, instruction.imm)}"
        case Op.LOAD if instruction.imm < len(kernel.loads):
            return f"load {format_view(kernel.loads[instruction.imm], kernel)}"
        case Op.LOAD | Op.ACC:
            return f"{name} {instruction.imm}"
        case _:
            return " ".join([name, *(f"r{register}" for register in instruction.args)])


def format_view(view: View, kernel: Kernel) -> str:
    text = f"%{view.value}[{format_address(view.address, kernel)}]{format_guards(view.address, kernel)}"
    if view.address.guards or view.address.computed:
        text += f" else {format_word(view.fill, True)}"
    return text


def format_address(address: Address, kernel: Kernel) -> str:
    terms = [(stride, f"r{register}") for stride, register in address.computed]
    return format_sum(address.base, [*axis_terms(address.strides, kernel), *terms])


def format_guards(address: Address, kernel: Kernel) -> str:
    if not address.guards:
        return ""
    conditions = (
        f"0 <= {format_sum(guard.base, axis_terms(guard.strides, kernel))} < {guard.limit}" for guard in address.guards
    )
    return " if " + " and ".join(conditions)


def axis_terms(strides: Sequence[int], kernel: Kernel) -> list[tuple[int, str]]:
    return [(stride, axis_name(kernel, axis)) for axis, stride in enumerate(strides)]


def axis_name(kernel: Kernel, axis: int) -> str:
    out_axes = len(kernel.out_shape)
    return f"o{axis}" if axis < out_axes else f"k{axis - out_axes}"


def format_sum(base: int, terms: Sequence[tuple[int, str]]) -> str:
    """base + sum(factor * name) as people write it: ``o0*64 - k0 + 3``."""
    text = ""
    for factor, name in terms:
        if factor:
            text += sign(factor, text) + (name if abs(factor) == 1 else f"{name}*{abs(factor)}")
    if base or not text:
        text += f"{sign(base, text)}{abs(base)}"
    return text


def sign(number: int, before: str) -> str:
    if not before:
        return "-" if number < 0 else ""
    return " - " if number < 0 else " + "


def format_word(word: int, is_float: bool) -> str:
    """A word as hexadecimal, with the number it stands for: an exact float where floats are meant, else an integer."""
    if is_float:
        return f"0x{word:08x} ({format_float(word)})"
    return f"0x{word:08x} ({word - (1 << 32) if word >> 31 else word})"


def format_float(word: int) -> str:
    """Nine digits: enough to tell any two binary32 apart."""
    sign_text = "-" if word >> 31 else ""
    exponent, fraction = word >> 23 & 0xFF, word & 0x7FFFFF
    if exponent == 0xFF:
        return "nan" if fraction else f"{sign_text}inf"
    value = (fraction | (0x800000 if exponent else 0)) * 2.0 ** (max(exponent, 1) - 150)
    return f"{sign_text}{value:.9g}"


def indent(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield f"  {line}"
