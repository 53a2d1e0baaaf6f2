# pragma version ~=0.4.3
"""
@title Storage types
@license Apache-2.0
@notice A mirror of `tallystick/spec/tensors.py`: how an element of a tensor is widened to a word and narrowed again.
"""

import float32

F32: constant(uint256) = 1
I32: constant(uint256) = 2
U8: constant(uint256) = 3
I8: constant(uint256) = 4
BOOL: constant(uint256) = 5
BF16: constant(uint256) = 6
F16: constant(uint256) = 7


@internal
@pure
def size(dtype: uint256) -> uint256:
    """
    @notice Bytes per element.
    """
    assert dtype != 0 and dtype <= F16, "no storage type"
    if dtype <= I32:
        return 4
    if dtype <= BOOL:
        return 1
    return 2


@internal
@pure
def widen(dtype: uint256, bits: uint256) -> uint256:
    """
    @notice The word a stored element loads as. Floats widen exactly; every NaN loads as the canonical NaN.
    """
    if dtype == F32:
        return float32.canonical(bits)
    if dtype == I32 or dtype == U8 or dtype == BOOL:
        return bits
    if dtype == I8:
        return bits | (2**32 - 2**8) if bits & 128 != 0 else bits
    if dtype == BF16:
        return float32.from_bfloat16(bits)
    if dtype == F16:
        return float32.from_float16(bits)
    raise "no storage type"


@internal
@pure
def narrow(dtype: uint256, word: uint256) -> uint256:
    """
    @notice The bits a word is stored as.
    @dev f32 stores NaN as the canonical NaN; bf16 and f16 round to nearest even; u8 and i8 keep the low byte; bool
         stores 1 for every word that is not 0.
    """
    if dtype == F32:
        return float32.canonical(word)
    if dtype == I32:
        return word
    if dtype == U8 or dtype == I8:
        return word & 255
    if dtype == BOOL:
        return 1 if word != 0 else 0
    if dtype == BF16:
        return float32.to_bfloat16(word)
    if dtype == F16:
        return float32.to_float16(word)
    raise "no storage type"
