"""Fast digests are the spec's digests, bit for bit, whatever way the bytes come."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.commitment import (
    NUMPY_DTYPES,
    HashlibHasher,
    StateHasher,
    TensorHasher,
    array_digest,
    check_array,
    dense_pieces,
    tree_root,
)
from tallystick.commitment.tensors import BLOCK
from tallystick.errors import UsageError
from tallystick.spec import digests as spec
from tallystick.spec.instructions import Code, Instruction, Op
from tallystick.spec.kernels import Kernel
from tallystick.spec.merkle import merkle_root
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, View

HASHER = HashlibHasher()


def some_bytes(nbytes: int) -> bytes:
    return np.random.default_rng(nbytes).bytes(nbytes)


@given(data=st.binary(max_size=300), size=st.integers(1, 70), prefix=st.binary(min_size=1, max_size=1))
def test_the_hasher_cuts_and_prefixes(data: bytes, size: int, prefix: bytes) -> None:
    expected = b"".join(sha256(prefix + data[i : i + size]).digest() for i in range(0, len(data), size))
    assert HASHER.digests(prefix, data, size) == expected


@given(count=st.integers(0, 70))
def test_tree_roots_are_the_specs(count: int) -> None:
    digests = [sha256(bytes([i])).digest() for i in range(count)]
    assert tree_root(HASHER, b"".join(digests)) == merkle_root(digests)


SIZES = [0, 1, 1023, 1024, 1025, 3 * 1024, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 1024, 2 * BLOCK, 3 * BLOCK + 5]


@pytest.mark.parametrize("nbytes", [*SIZES, 5 * BLOCK])
def test_tensor_digests_are_the_specs_at_every_edge(nbytes: int) -> None:
    type = TensorType(DType.U8, (nbytes,))
    data = some_bytes(nbytes)
    assert array_digest(type, np.frombuffer(data, np.uint8), HASHER) == spec.tensor_digest(type, data)


@pytest.mark.parametrize("piece", [1000, 1024, BLOCK - 7, BLOCK, BLOCK + 9, 4 * BLOCK])
def test_pieces_do_not_matter(piece: int) -> None:
    data = some_bytes(2 * BLOCK + 12345)
    type = TensorType(DType.U8, (len(data),))
    tensor = TensorHasher(type, HASHER)
    for start in range(0, len(data), piece):
        tensor.update(data[start : start + piece])
    assert tensor.digest() == spec.tensor_digest(type, data)


@pytest.mark.parametrize("dtype", list(DType))
def test_every_storage_type(dtype: DType) -> None:
    type = TensorType(dtype, (3, 5, 7))
    array = np.frombuffer(some_bytes(type.nbytes), np.uint8)
    array = (array & 1).astype(bool) if dtype is DType.BOOL else array.view(NUMPY_DTYPES[dtype])
    array = array.reshape(type.shape)
    check_array(type, array, "it")
    assert array_digest(type, array, HASHER) == spec.tensor_digest(type, array.tobytes())


def test_a_scalar_has_a_digest() -> None:
    type = TensorType(DType.F32, ())
    array = np.array(1.5, np.float32)
    assert array_digest(type, array, HASHER) == spec.tensor_digest(type, array.tobytes())


@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    step=st.sampled_from([1, 2, -1]),
    piece=st.integers(4, 64),
)
def test_pieces_of_strided_arrays_are_their_dense_bytes(shape: list[int], order, step: int, piece: int) -> None:
    axes = list(range(len(shape)))
    order.shuffle(axes)
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape).transpose(axes)[::step]
    assert b"".join(bytes(part) for part in dense_pieces(array, piece)) == array.tobytes()


def test_a_memory_mapped_array_is_hashed_in_pieces(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(700_000, dtype=np.int32).reshape(700, 1000))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    for array in (mapped, mapped.T, mapped[::3]):
        type = TensorType(DType.I32, array.shape)
        assert array_digest(type, array, HASHER) == spec.tensor_digest(type, array.tobytes())
        assert max(len(part) for part in dense_pieces(array)) <= BLOCK


def test_an_array_of_another_type_is_refused() -> None:
    type = TensorType(DType.F32, (2, 3))
    for array in (np.zeros((2, 3)), np.zeros((3, 2), np.float32), np.zeros((2, 3), ">f4")):
        with pytest.raises(UsageError, match=r"weight is .* wants float32\[2, 3\]"):
            check_array(type, array, "weight")


class CountingHasher(HashlibHasher):
    """Counts the bytes that chunks are made of."""

    hashed = 0

    def digests(self, prefix: bytes, data: bytes | bytearray | memoryview, size: int) -> bytes:
        self.hashed += len(data) if prefix == b"\x00" else 0
        return super().digests(prefix, data, size)


def test_state_roots_are_the_specs_and_frozen_slots_are_hashed_once() -> None:
    type = TensorType(DType.I32, (300,))
    body = Code((Instruction(Op.LOAD, (), 0),), (0,))
    copy = Kernel((300,), (), (View(0, Address(0, (1,))),), body, (DType.I32,))
    program = Program((type, type, type), (), (copy,), (3, 1, 0))  # slots: made, handed on, another slot's
    states = [[np.full(300, 10 * n + s, np.int32) for s in range(3)] for n in range(3)]
    for state in states:
        state[1] = states[0][1]
    hasher = CountingHasher()
    along_the_run = StateHasher(program, hasher)
    for state in states:
        expected = merkle_root([spec.tensor_digest(type, array.tobytes()) for array in state])
        assert along_the_run.root(state) == expected
    assert hasher.hashed == (3 + 2 + 2) * 1200
