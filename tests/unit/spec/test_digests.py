"""Digests and roots, field by field, and openings of chunks and kernels."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

import sample_programs
from tallystick.spec import digests, merkle
from tallystick.spec.encoding import encode_header, encode_kernel
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
    leaf = sha256(b"\x00" + (2).to_bytes(4, "little") + encode_kernel(program.kernels[0])).digest()
    header = sha256(encode_header(program)).digest()
    assert digests.program_root(program) == sha256(b"\x03" + header + leaf).digest()


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
    "matmul": "a803d0d80e868fbd",
    "convolution": "a736924e099532ad",
    "cumulative sum": "6bdd959a307f2f9a",
    "embedding gradient": "f6ed80dead003813",
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


def test_kernels_open_into_the_program_root() -> None:
    kernel = sample_programs.matmul(3, 3, 3)
    program = replace(sample_programs.MATMUL, kernels=(kernel, kernel, replace(kernel, outputs=(DType.BF16,))))
    root = digests.program_root(program)
    for number in range(3):
        opening = digests.open_kernel(program, number)
        assert opening.first_value == 2 + number
        assert digests.verify_kernel(root, 3, opening)
        assert not digests.verify_kernel(root, 3, replace(opening, first_value=opening.first_value + 1))
        assert not digests.verify_kernel(root, 3, replace(opening, number=(number + 1) % 3))
        assert not digests.verify_kernel(root, 3, replace(opening, number=4))
        assert not digests.verify_kernel(root, 3, replace(opening, kernel_bytes=opening.kernel_bytes + b"\0"))
        assert not digests.verify_kernel(root, 3, replace(opening, header_digest=bytes(32)))
        assert not digests.verify_kernel(root, 2, opening)


def test_manifest_id_is_domain_separated() -> None:
    assert digests.manifest_id(b"{}") == sha256(b"\x04{}").digest()
