"""Tensors: a storage type, a shape, and dense row-major little-endian bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import prod

from tallystick.spec import float32


class DType(IntEnum):
    """Storage types. The numbers are part of the canonical encoding and of tensor digests."""

    F32 = 1
    I32 = 2
    U8 = 3
    I8 = 4
    BOOL = 5
    BF16 = 6
    F16 = 7

    @property
    def size(self) -> int:
        """Bytes per element."""
        return _SIZE[self]


_SIZE = {DType.F32: 4, DType.I32: 4, DType.U8: 1, DType.I8: 1, DType.BOOL: 1, DType.BF16: 2, DType.F16: 2}


def widen(dtype: DType, bits: int) -> int:
    """The word a stored element loads as. Floats widen exactly; every NaN loads as the canonical NaN."""
    match dtype:
        case DType.F32:
            return float32.canonical(bits)
        case DType.I32 | DType.U8 | DType.BOOL:
            return bits
        case DType.I8:
            return bits | 0xFFFFFF00 if bits & 0x80 else bits
        case DType.BF16:
            return float32.from_bfloat16(bits)
        case DType.F16:
            return float32.from_float16(bits)


def narrow(dtype: DType, word: int) -> int:
    """The bits a word is stored as.

    f32 stores NaN as the canonical NaN; bf16 and f16 round to nearest even; u8 and i8 keep the low byte; bool stores
    1 for every word that is not 0.
    """
    match dtype:
        case DType.F32:
            return float32.canonical(word)
        case DType.I32:
            return word
        case DType.U8 | DType.I8:
            return word & 0xFF
        case DType.BOOL:
            return int(word != 0)
        case DType.BF16:
            return float32.to_bfloat16(word)
        case DType.F16:
            return float32.to_float16(word)


def is_storable(dtype: DType, bits: int) -> bool:
    """Whether storing some word leaves these bits: no NaN but the canonical one, no truth value but 0 and 1.

    State and constants hold only such bits, so that a tensor that is copied is the tensor that was there.
    """
    return narrow(dtype, widen(dtype, bits)) == bits


@dataclass(frozen=True, slots=True)
class TensorType:
    """Storage type and shape of a value."""

    dtype: DType
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.elements * self.dtype.size


class Tensor:
    """A value: its type and its bytes."""

    __slots__ = ("data", "type")

    def __init__(self, type: TensorType, data: bytes | bytearray | None = None) -> None:
        self.type = type
        self.data = bytearray(type.nbytes) if data is None else bytearray(data)
        assert len(self.data) == type.nbytes, "a tensor's bytes must fit its type"

    def load(self, address: int) -> int:
        """The word at an element address."""
        size = self.type.dtype.size
        return widen(self.type.dtype, int.from_bytes(self.data[address * size : (address + 1) * size], "little"))

    def store(self, address: int, word: int) -> None:
        """Narrow a word into an element address."""
        size = self.type.dtype.size
        bits = narrow(self.type.dtype, word)
        self.data[address * size : (address + 1) * size] = bits.to_bytes(size, "little")
