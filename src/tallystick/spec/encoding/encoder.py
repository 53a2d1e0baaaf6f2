"""Programs to canonical bytes."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.errors import ProgramError
from tallystick.spec import limits
from tallystick.spec.encoding.layout import IMMEDIATES, MAGIC, VERSION, Kind
from tallystick.spec.instructions import ARITY, Code, Instruction
from tallystick.spec.kernels import Fold, Kernel, Scatter
from tallystick.spec.programs import Program
from tallystick.spec.tensors import TensorType
from tallystick.spec.views import Address, View


def encode_program(program: Program) -> bytes:
    """The canonical bytes of a program.

    Raises: ProgramError if a number does not fit its field or a kernel is too long.
    """
    parts = [encode_header(program)]
    for number, kernel in enumerate(program.kernels):
        try:
            encoded = encode_kernel(kernel)
        except ProgramError as error:
            raise ProgramError(f"kernel {number}: {error}") from error
        parts += [unsigned(len(encoded), 2, "length"), encoded]
    return b"".join(parts)


def encode_header(program: Program) -> bytes:
    """Everything of a program but its kernels."""
    if len(program.next_state) != len(program.states):
        raise ProgramError(f"next_state has {len(program.next_state)} entries for {len(program.states)} state slots")
    return b"".join(
        [
            MAGIC,
            unsigned(VERSION, 2, "version"),
            unsigned(len(program.states), 4, "states"),
            unsigned(len(program.constants), 4, "constants"),
            unsigned(len(program.kernels), 4, "kernels"),
            *(encode_tensor_type(type) for type in (*program.states, *program.constants)),
            *(unsigned(value, 4, "next_state") for value in program.next_state),
        ]
    )


def encode_tensor_type(type: TensorType) -> bytes:
    return unsigned(type.dtype, 1, "dtype") + unsigned(len(type.shape), 1, "rank") + encode_extents(type.shape)


def encode_kernel(kernel: Kernel) -> bytes:
    """The canonical bytes of one kernel.

    Raises: ProgramError if a number does not fit its field or the kernel is longer than ``limits.ENCODED_KERNEL``.
    """
    axes = len(kernel.out_shape) + len(kernel.reduce_shape)
    parts = [
        unsigned(kind_of(kernel), 1, "kind"),
        unsigned(len(kernel.out_shape), 1, "out axes"),
        unsigned(len(kernel.reduce_shape), 1, "reduce axes"),
        encode_extents(kernel.out_shape + kernel.reduce_shape),
        unsigned(len(kernel.outputs), 1, "outputs"),
        *(unsigned(dtype, 1, "dtype") for dtype in kernel.outputs),
        unsigned(len(kernel.loads), 1, "loads"),
        *(encode_view(view, axes) for view in kernel.loads),
        encode_code(kernel.body),
    ]
    if kernel.fold is not None:
        parts.append(encode_fold(kernel.fold))
    if kernel.scatter is not None:
        parts.append(encode_scatter(kernel.scatter, axes))
    encoded = b"".join(parts)
    if len(encoded) > limits.ENCODED_KERNEL:
        raise ProgramError(f"the kernel takes {len(encoded)} bytes of at most {limits.ENCODED_KERNEL}: split it")
    return encoded


def kind_of(kernel: Kernel) -> Kind:
    """Whether a kernel is a map, a fold, a scan or a scatter."""
    if kernel.fold is not None and kernel.scatter is not None:
        raise ProgramError("a kernel is a fold or a scatter, not both")
    if kernel.scatter is not None:
        return Kind.SCATTER
    if kernel.fold is not None:
        return Kind.SCAN if kernel.fold.scan else Kind.FOLD
    return Kind.MAP


def encode_fold(fold: Fold) -> bytes:
    return b"".join(
        [
            unsigned(len(fold.init), 1, "accumulators"),
            *(unsigned(word, 4, "init") for word in fold.init),
            unsigned(fold.lanes, 1, "lanes"),
            unsigned(fold.block, 8, "block"),
            encode_code(fold.merge),
            encode_code(fold.epilogue),
        ]
    )


def encode_scatter(scatter: Scatter, axes: int) -> bytes:
    return b"".join(
        [
            unsigned(len(scatter.shape), 1, "rank"),
            encode_extents(scatter.shape),
            unsigned(int(scatter.base is not None), 1, "base?"),
            unsigned(scatter.base or 0, 4, "base"),
            unsigned(scatter.fill, 4, "fill"),
            encode_address(scatter.address, axes),
            unsigned(int(scatter.merge is not None), 1, "merge?"),
            b"" if scatter.merge is None else encode_code(scatter.merge),
        ]
    )


def encode_view(view: View, axes: int) -> bytes:
    return unsigned(view.value, 4, "value") + unsigned(view.fill, 4, "fill") + encode_address(view.address, axes)


def encode_address(address: Address, axes: int) -> bytes:
    parts = [
        encode_affine(address.base, address.strides, axes),
        unsigned(len(address.computed), 1, "computed"),
    ]
    for stride, register in address.computed:
        parts += [integer(stride, "computed stride"), unsigned(register, 1, "computed register")]
    parts.append(unsigned(len(address.guards), 1, "guards"))
    for guard in address.guards:
        parts += [encode_affine(guard.base, guard.strides, axes), unsigned(guard.limit, 8, "guard limit")]
    return b"".join(parts)


def encode_affine(base: int, strides: Sequence[int], axes: int) -> bytes:
    if len(strides) != axes:
        raise ProgramError(f"an address has {len(strides)} strides in a kernel of {axes} axes; give one per axis")
    return integer(base, "base") + b"".join(integer(stride, "stride") for stride in strides)


def encode_code(code: Code) -> bytes:
    return b"".join(
        [
            unsigned(len(code.instructions), 2, "instructions"),
            unsigned(len(code.results), 1, "results"),
            *(unsigned(register, 1, "result register") for register in code.results),
            *(encode_instruction(instruction) for instruction in code.instructions),
        ]
    )


def encode_instruction(instruction: Instruction) -> bytes:
    """Five bytes: the opcode, then an immediate or three operands and a zero."""
    op = instruction.op
    if len(instruction.args) != ARITY[op]:
        raise ProgramError(f"{op.name} takes {ARITY[op]} operands, not {len(instruction.args)}")
    if instruction.imm and op not in IMMEDIATES:
        raise ProgramError(f"{op.name} has no immediate, but {instruction.imm} is given")
    if op in IMMEDIATES:
        return unsigned(op, 1, "opcode") + unsigned(instruction.imm, 4, f"immediate of {op.name}")
    operands = b"".join(unsigned(register, 1, f"operand of {op.name}") for register in instruction.args)
    return (unsigned(op, 1, "opcode") + operands).ljust(5, b"\0")


def encode_extents(extents: Sequence[int]) -> bytes:
    return b"".join(unsigned(extent, 8, "extent") for extent in extents)


def unsigned(number: int, width: int, field: str) -> bytes:
    """``width`` little-endian bytes of a number that is not negative."""
    if not 0 <= number < 1 << (8 * width):
        raise ProgramError(f"{field} is {number}, which does not fit {8 * width} unsigned bits")
    return number.to_bytes(width, "little")


def integer(number: int, field: str) -> bytes:
    """Eight little-endian bytes in two's complement."""
    if not -(1 << 63) <= number < 1 << 63:
        raise ProgramError(f"{field} is {number}, which does not fit 64 signed bits")
    return number.to_bytes(8, "little", signed=True)
