"""numpy arrays as tensors: their storage types, their dense bytes, their digests."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tallystick.commitment.hasher import Hasher
from tallystick.commitment.tensors import BLOCK, TensorHasher
from tallystick.errors import UsageError
from tallystick.spec.tensors import DType, TensorType

NUMPY_DTYPES: dict[DType, np.dtype] = {
    DType.F32: np.dtype("<f4"),
    DType.I32: np.dtype("<i4"),
    DType.U8: np.dtype("u1"),
    DType.I8: np.dtype("i1"),
    DType.BOOL: np.dtype("bool"),
    DType.BF16: np.dtype("<u2"),  # the bits: numpy has no bfloat16
    DType.F16: np.dtype("<f2"),
}
"""What each storage type is in numpy."""

UNSIGNED: dict[int, np.dtype] = {1: np.dtype("u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}
"""The integer whose bits an element of so many bytes has."""


def bits_of(type: TensorType, array: np.ndarray) -> np.ndarray:
    """The bits of the elements, flat, as unsigned integers."""
    return np.ascontiguousarray(array).reshape(-1).view(UNSIGNED[type.dtype.size])


def check_array(type: TensorType, array: np.ndarray, name: str) -> None:
    """Raises: UsageError if an array is not a tensor of this type; ``name`` is what the message calls it."""
    if array.dtype != NUMPY_DTYPES[type.dtype] or array.shape != type.shape:
        raise UsageError(
            f"{name} is {array.dtype}{list(array.shape)}, but the program wants "
            f"{NUMPY_DTYPES[type.dtype]}{list(type.shape)}"
        )


def dense_pieces(array: np.ndarray, piece: int = BLOCK) -> Iterator[memoryview]:
    """An array's dense row-major bytes in pieces of at most ``piece`` bytes.

    Nothing larger than a piece is ever copied, so a memory-mapped array may be larger than memory. A piece is good
    until the next one is asked for.
    """
    if array.size == 0:
        return
    if array.flags.c_contiguous:
        view = array.reshape(-1).view(np.uint8).data
        for start in range(0, len(view), piece):
            yield view[start : start + piece]
        return
    flags = ("external_loop", "buffered")
    with np.nditer(array, flags=flags, order="C", buffersize=max(1, piece // array.itemsize)) as blocks:
        for block in blocks:
            yield np.ascontiguousarray(block).view(np.uint8).data


def array_digest(type: TensorType, array: np.ndarray, hasher: Hasher) -> bytes:
    """The tensor digest of an array whose dtype and shape fit ``type``."""
    tensor = TensorHasher(type, hasher)
    for piece in dense_pieces(array):
        tensor.update(piece)
    return tensor.digest()
