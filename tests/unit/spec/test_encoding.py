"""Canonical bytes: what they are, that they come back, and what is refused and how it is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import sample_programs
from tallystick.errors import DecodingError, ProgramError
from tallystick.spec.encoding import decode_kernel, decode_program, encode_kernel, encode_program
from tallystick.spec.instructions import Code, Instruction, Op
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

COPY = Kernel(
    (2,),
    (),
    (View(0, Address(-1, (1,), ((2, 0),), (Guard(-3, (-4,), 5),)), 0x7FC00000),),
    Code((Instruction(Op.CONST, (), 0xAABBCCDD), Instruction(Op.LOAD, (), 0)), (1,)),
    (DType.F32,),
)
PROGRAM = Program((TensorType(DType.F32, (2,)),), (TensorType(DType.U8, ()),), (COPY,), (2,))


def test_bytes_are_what_the_layout_says() -> None:
    kernel = [
        b"\x00\x01\x00" + b"\x02" + bytes(7),  # map, one out axis, no reduce axis, extent 2
        b"\x01\x01",  # one output, f32
        b"\x01" + bytes(4) + b"\x00\x00\xc0\x7f",  # one view, of value 0, fill
        b"\xff" * 8 + b"\x01" + bytes(7),  # base -1, stride 1
        b"\x01" + b"\x02" + bytes(7) + b"\x00",  # one computed term: stride 2, register 0
        b"\x01" + b"\xfd" + b"\xff" * 7 + b"\xfc" + b"\xff" * 7 + b"\x05" + bytes(7),  # one guard
        b"\x02\x00" + b"\x01\x01",  # two instructions; one result, register 1
        b"\x00\xdd\xcc\xbb\xaa" + b"\x02\x00\x00\x00\x00",
    ]
    assert encode_kernel(COPY) == b"".join(kernel)
    header = b"TALY\x02\x00" + b"\x01\0\0\0" * 3 + b"\x01\x01\x02" + bytes(7) + b"\x03\x00" + b"\x02\0\0\0"
    length = len(encode_kernel(COPY)).to_bytes(2, "little")
    assert encode_program(PROGRAM) == header + length + encode_kernel(COPY)


def test_operands_are_padded_with_zeros() -> None:
    add = Instruction(Op.FADD, (0, 0))
    kernel = replace(COPY, body=Code((*COPY.body.instructions, add), (2,)))
    assert encode_kernel(kernel).endswith(b"\x10\x00\x00\x00\x00")


@pytest.mark.parametrize("name", sample_programs.ALL)
def test_programs_come_back(name: str) -> None:
    program = sample_programs.ALL[name]
    assert decode_program(encode_program(program)) == program
    assert decode_program(memoryview(encode_program(program))) == program
    for kernel in program.kernels:
        assert decode_kernel(encode_kernel(kernel)) == kernel


def test_an_empty_program_comes_back() -> None:
    assert decode_program(encode_program(Program((), (), (), ()))) == Program((), (), (), ())


HEADER = len(encode_program(replace(PROGRAM, kernels=(), next_state=(0,))))
KERNEL = HEADER + 2  # the first kernel's first byte


def patched(at: int, *values: int) -> bytes:
    data = bytearray(encode_program(PROGRAM))
    data[at : at + len(values)] = bytes(values)
    return bytes(data)


REFUSED: list[tuple[str, bytes, str, int]] = [
    ("nothing at all", b"", "magic", 0),
    ("another file", b"PK\x03\x04" + bytes(40), "magic", 0),
    ("a later version", patched(4, 3), "version", 4),
    ("more slots than bytes", patched(6, 0xFF, 0xFF), "states", 6),
    ("more slots than allowed", patched(6, 0xFF, 0xFF, 0xFF, 0xFF), "states", 6),
    ("more constants than bytes", patched(10, 0xFF), "constants", 10),
    ("more kernels than bytes", patched(14, 0xFF), "kernels", 14),
    ("an unknown storage type", patched(18, 8), "states[0].dtype", 18),
    ("no storage type", patched(18, 0), "states[0].dtype", 18),
    ("too many dimensions", patched(19, 9), "states[0].dims", 20),
    ("an empty dimension", patched(20, 0), "states[0].dims[0]", 20),
    ("an endless dimension", patched(27, 1), "states[0].dims[0]", 20),
    ("a kernel longer than the rest", patched(HEADER, 0xFF), "kernels[0].length", HEADER),
    ("a kernel longer than allowed", patched(HEADER + 1, 0x11), "kernels[0].length", HEADER),
    ("a kernel cut short", patched(HEADER, 20), "kernels[0].loads", KERNEL + 13),
    ("an unknown kind", patched(KERNEL, 4), "kernels[0].kind", KERNEL),
    ("too many out axes", patched(KERNEL + 1, 9), "kernels[0].out_axes", KERNEL + 1),
    ("too many axes together", patched(KERNEL + 2, 8), "kernels[0].reduce_axes", KERNEL + 2),
    ("an empty loop", patched(KERNEL + 3, 0), "kernels[0].out_shape[0]", KERNEL + 3),
    ("too many outputs", patched(KERNEL + 11, 5), "kernels[0].outputs", KERNEL + 11),
    ("an output of no type", patched(KERNEL + 12, 0), "kernels[0].outputs[0]", KERNEL + 12),
    ("too many loads", patched(KERNEL + 13, 17), "kernels[0].loads", KERNEL + 13),
    ("too many computed terms", patched(KERNEL + 38, 3), "kernels[0].loads[0].computed", KERNEL + 38),
    ("too many guards", patched(KERNEL + 48, 17), "kernels[0].loads[0].guards", KERNEL + 48),
    ("too many instructions", patched(KERNEL + 73, 1, 1), "kernels[0].body.instructions", KERNEL + 73),
    ("more instructions than bytes", patched(KERNEL + 73, 200), "kernels[0].body.instructions", KERNEL + 73),
    ("too many results", patched(KERNEL + 75, 5), "kernels[0].body.results", KERNEL + 75),
    ("an unknown instruction", patched(KERNEL + 77, 5), "kernels[0].body.instructions[0].opcode", KERNEL + 77),
    ("an operand of step", patched(KERNEL + 82, 4, 1), "kernels[0].body.instructions[1]", KERNEL + 82),
    ("a third operand of add", patched(KERNEL + 82, 0x10, 0, 0, 1), "kernels[0].body.instructions[1]", KERNEL + 82),
    ("a fourth operand of fma", patched(KERNEL + 82, 0x15, 0, 0, 0, 1), "kernels[0].body.instructions[1]", KERNEL + 82),
    ("bytes after the end", encode_program(PROGRAM) + b"\0", "end", KERNEL + 87),
    ("a kernel too long for its fields", patched(HEADER, 88) + b"\0", "kernels[0].end", KERNEL + 87),
]


@pytest.mark.parametrize(("data", "field", "offset"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_other_bytes_are_refused_by_field_and_offset(data: bytes, field: str, offset: int) -> None:
    with pytest.raises(DecodingError) as caught:
        decode_program(data)
    assert (caught.value.field, caught.value.offset) == (field, offset)


def scatter_bytes(patch: Callable[[bytearray, int], None]) -> bytes:
    """A scatter's bytes, patched; the patch is given the place of its ``base?`` field."""
    kernel = sample_programs.EMBEDDING_GRADIENT.kernels[0]
    data = bytearray(encode_kernel(kernel))
    assert kernel.scatter is not None
    tail = encode_kernel(replace(kernel, scatter=replace(kernel.scatter, merge=None)))
    # from the end, without merge: merge?, address with one term and two axes, fill, base, base?
    patch(data, len(tail) - 1 - (8 + 16 + 1 + 9 + 1) - 4 - 4 - 1)
    return bytes(data)


def test_a_scatter_without_base_has_no_base_number() -> None:
    def name_a_base(data: bytearray, at: int) -> None:
        data[at + 1] = 1

    with pytest.raises(DecodingError, match=r"scatter\.base at byte"):
        decode_kernel(scatter_bytes(name_a_base))


@pytest.mark.parametrize("flag", [2, 255])
def test_flags_are_0_or_1(flag: int) -> None:
    def set_flag(data: bytearray, at: int) -> None:
        data[at] = flag

    with pytest.raises(DecodingError, match=r"scatter\.base\? at byte"):
        decode_kernel(scatter_bytes(set_flag))


def test_every_shorter_file_is_refused() -> None:
    data = encode_program(sample_programs.CONVOLUTION)
    for length in range(len(data)):
        with pytest.raises(DecodingError):
            decode_program(data[:length])


def test_a_kernel_alone_has_nothing_after_it_and_is_not_too_long() -> None:
    with pytest.raises(DecodingError, match="end at byte 87: 1 bytes too many"):
        decode_kernel(encode_kernel(COPY) + b"\0")
    with pytest.raises(DecodingError, match="kernel at byte 0"):
        decode_kernel(bytes(5000))


LOAD, CONST = COPY.body.instructions[1], COPY.body.instructions[0]
UNENCODABLE: list[tuple[Kernel, str]] = [
    (replace(COPY, body=Code((replace(CONST, imm=1 << 32),), (0,))), "immediate of CONST is 4294967296"),
    (replace(COPY, body=Code((replace(CONST, imm=-1),), (0,))), "immediate of CONST is -1"),
    (replace(COPY, body=Code((Instruction(Op.FADD, (0,)),), (0,))), "FADD takes 2 operands, not 1"),
    (replace(COPY, body=Code((Instruction(Op.STEP, (), 3),), (0,))), "STEP has no immediate"),
    (replace(COPY, body=Code((CONST,), (256,))), "result register is 256"),
    (replace(COPY, out_shape=(1 << 64,)), "extent is"),
    (replace(COPY, out_shape=(-1,)), "extent is -1"),
    (replace(COPY, out_shape=(2, 2)), "an address has 1 strides in a kernel of 2 axes"),
    (replace(COPY, loads=(View(1 << 32, COPY.loads[0].address),)), "value is"),
    (replace(COPY, loads=(View(0, Address(1 << 63, (0,))),)), "base is"),
    (replace(COPY, body=Code((CONST,) * 256, (0,)), loads=COPY.loads * 60), "split it"),
]


@pytest.mark.parametrize(("kernel", "message"), UNENCODABLE)
def test_numbers_that_do_not_fit_are_named(kernel: Kernel, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        encode_kernel(kernel)
    with pytest.raises(ProgramError, match=f"kernel 1: .*{message}"):
        encode_program(replace(PROGRAM, kernels=(COPY, kernel)))


def test_fold_and_scatter_together_have_no_encoding() -> None:
    fold = sample_programs.MATMUL.kernels[0].fold
    with pytest.raises(ProgramError, match="not both"):
        encode_kernel(replace(sample_programs.EMBEDDING_GRADIENT.kernels[0], fold=fold))


def test_every_slot_has_a_next_value() -> None:
    with pytest.raises(ProgramError, match="next_state has 0 entries for 1"):
        encode_program(replace(PROGRAM, next_state=()))
