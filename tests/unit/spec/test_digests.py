"""Digests and roots, field by field, and openings of chunks and kernels."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

import sample_programs
from tallystick.spec import digests, merkle
from tallystick.spec.encoding import encode_kernel, encode_tensor_type
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType

TYPE = TensorType(DType.F32, (2, 300))
DATA = bytes(i * 7 % 251 for i in range(TYPE.nbytes))


def test_tensor_digest_is_its_definition() -> None:
    leaves = [sha256(b"\x00" + DATA[start : start + 1024]).digest() for start in (0, 1024, 2048)]
    left = sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    right = sha256(b"\x01" + leaves[2] + bytes(32)).digest()
    root = sha256(b"\x01" + left + right).digest()
    head = bytes([1, 2]) + (2).to_bytes(8, "little") + (300).to_bytes(8, "little")
    assert digests.tensor_digest(TYPE, DATA) == sha256(b"\x02" + head + root).digest()


def test_tensor_digest_takes_any_buffer() -> None:
    assert digests.tensor_digest(TYPE, bytearray(DATA)) == digests.tensor_digest(TYPE, DATA)
    assert digests.tensor_digest(TYPE, memoryview(DATA).cast("f")) == digests.tensor_digest(TYPE, DATA)


def test_tensor_digest_depends_on_everything() -> None:
    others = [
        digests.tensor_digest(TYPE, DATA),
        digests.tensor_digest(TensorType(DType.F32, (300, 2)), DATA),
        digests.tensor_digest(TensorType(DType.F32, (600,)), DATA),
        digests.tensor_digest(TensorType(DType.I32, (2, 300)), DATA),
        digests.tensor_digest(TYPE, DATA[:-1] + b"\xff"),
        digests.tensor_digest(TensorType(DType.F32, (1, 2, 300)), DATA),
    ]
    assert len(set(others)) == len(others)


def test_scalars_have_one_short_chunk() -> None:
    scalar = TensorType(DType.U8, ())
    assert digests.tensor_digest(scalar, b"\x05") == sha256(b"\x02\x03\x00" + merkle.leaf(b"\x05")).digest()


def test_roots_keep_the_order_of_slots() -> None:
    first, second = merkle.leaf(b"1"), merkle.leaf(b"2")
    assert digests.state_root([first, second]) == sha256(b"\x01" + first + second).digest()
    assert digests.state_root([first, second]) != digests.state_root([second, first])
    assert digests.constants_root([]) == bytes(32)


def test_program_root_is_its_definition() -> None:
    program = sample_programs.MATMUL
    kernels = merkle.leaf((2).to_bytes(4, "little") + encode_kernel(program.kernels[0]))
    state = merkle.leaf(encode_tensor_type(program.states[0]) + program.next_state[0].to_bytes(4, "little"))
    slots = merkle.node(state, merkle.leaf(encode_tensor_type(program.constants[0])))
    counts = b"".join(count.to_bytes(4, "little") for count in (1, 1, 3, 1))
    assert digests.program_root(program) == sha256(b"\x03\x02\x00" + counts + slots + kernels).digest()


def test_program_root_depends_on_every_part() -> None:
    program = sample_programs.MATMUL
    kernel = program.kernels[0]
    others = [
        program,
        replace(program, next_state=(0,)),
        replace(program, kernels=(kernel, kernel)),
        replace(program, constants=(sample_programs.f32(3, 4),)),
        replace(program, kernels=(replace(kernel, out_shape=(3, 2)),)),
    ]
    assert len({digests.program_root(other) for other in others}) == len(others)


PINNED = {
    "matmul": "3a2967978f130c99",
    "convolution": "1727b7cae02bc28b",
    "cumulative sum": "4d754d2440f5cdee",
    "embedding gradient": "5dcf2f1502275853",
}


def test_program_roots_are_pinned() -> None:
    """A change here is a change of the representation: the version in the header has to change with it."""
    roots = {name: digests.program_root(program).hex()[:16] for name, program in sample_programs.ALL.items()}
    assert roots == PINNED


@pytest.mark.parametrize("index", [0, 1, 2])
def test_chunks_open_into_the_tensor_digest(index: int) -> None:
    digest = digests.tensor_digest(TYPE, DATA)
    opening = digests.open_chunk(DATA, index)
    assert digests.verify_chunk(digest, TYPE, opening)
    changed = bytes([opening.chunk[0] ^ 1]) + opening.chunk[1:]
    assert not digests.verify_chunk(digest, TYPE, replace(opening, chunk=changed))
    assert not digests.verify_chunk(digest, TYPE, replace(opening, chunk=opening.chunk[:-1]))
    assert not digests.verify_chunk(digest, TYPE, replace(opening, index=(index + 1) % 3))
    assert not digests.verify_chunk(digest, TYPE, replace(opening, index=3))
    assert not digests.verify_chunk(digest, TYPE, replace(opening, siblings=opening.siblings[:-1]))
    assert not digests.verify_chunk(digest, TensorType(DType.F32, (300, 2)), opening)


def test_a_chunk_past_the_end_does_not_open() -> None:
    """The padding of the tree is no chunk."""
    opening = digests.open_chunk(DATA, 2)
    siblings = (merkle.leaf(opening.chunk), *opening.siblings[1:])
    past = digests.ChunkOpening(3, b"", siblings)
    assert not digests.verify_chunk(digests.tensor_digest(TYPE, DATA), TYPE, past)


def test_kernels_open_into_the_program_header() -> None:
    kernel = sample_programs.matmul(3, 3, 3)
    program = replace(sample_programs.MATMUL, kernels=(kernel, kernel, replace(kernel, outputs=(DType.BF16,))))
    header = digests.program_header(program)
    assert header.root == digests.program_root(program)
    for number in range(3):
        opening = digests.open_kernel(program, number)
        assert opening.first_value == 2 + number
        assert digests.verify_kernel(header, opening)
        assert not digests.verify_kernel(header, replace(opening, first_value=opening.first_value + 1))
        assert not digests.verify_kernel(header, replace(opening, number=(number + 1) % 3))
        assert not digests.verify_kernel(header, replace(opening, number=4))
        assert not digests.verify_kernel(header, replace(opening, kernel_bytes=opening.kernel_bytes + b"\0"))
        assert not digests.verify_kernel(replace(header, kernels_root=bytes(32)), opening)
        assert not digests.verify_kernel(replace(header, kernels=2), opening)


def test_slots_open_into_the_program_header() -> None:
    type = sample_programs.f32(3)
    program = Program((type, type, type), (type,), (), (1, 2, 0))
    header = digests.program_header(program)
    for slot in range(3):
        opening = digests.open_slot(program, slot)
        assert opening.next_value == program.next_state[slot]
        assert digests.verify_slot(header, opening)
        assert not digests.verify_slot(header, replace(opening, next_value=3))
        assert not digests.verify_slot(header, replace(opening, slot=(slot + 1) % 3))
        assert not digests.verify_slot(header, replace(opening, type_bytes=opening.type_bytes + b"\0"))
        assert not digests.verify_slot(replace(header, slots_root=bytes(32)), opening)


def test_manifest_id_is_domain_separated() -> None:
    assert digests.manifest_id(b"{}") == sha256(b"\x04{}").digest()
