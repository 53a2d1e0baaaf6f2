# pragma version ~=0.4.3
"""
@title Numbers out of canonical bytes
@license Apache-2.0
@notice
    A mirror of `tallystick/spec/encoding/reader.py`: integers are little-endian.

    Each function takes the 32 bytes that begin with the number (`extract32` of the bytes, with zeros behind their end,
    so that every place in them has 32 bytes). Whoever reads checks where the bytes end.
"""

EVERY_OTHER_BYTE: constant(uint256) = 255 * (1 + 2**16 + 2**32 + 2**48)
EVERY_OTHER_PAIR: constant(uint256) = 65535 * (1 + 2**32)


@internal
@pure
def u64(field: uint256) -> uint256:
    """
    @notice The unsigned number of 8 bytes: its bytes are swapped, then pairs of them, then its halves.
    """
    number: uint256 = field >> 192
    number = (number >> 8) & EVERY_OTHER_BYTE | (number & EVERY_OTHER_BYTE) << 8
    number = (number >> 16) & EVERY_OTHER_PAIR | (number & EVERY_OTHER_PAIR) << 16
    return number >> 32 | (number & (2**32 - 1)) << 32


@internal
@pure
def i64(field: uint256) -> int256:
    """
    @notice The signed number of 8 bytes.
    """
    number: int256 = convert(self.u64(field), int256)
    return number if number < 2**63 else unsafe_sub(number, 2**64)


@internal
@pure
def u32(field: uint256) -> uint256:
    """
    @notice The unsigned number of 4 bytes.
    """
    return self.u64(field) & (2**32 - 1)


@internal
@pure
def u16(field: uint256) -> uint256:
    """
    @notice The unsigned number of 2 bytes.
    """
    return ((field >> 240) & 255) << 8 | field >> 248


@internal
@pure
def u8(field: uint256) -> uint256:
    """
    @notice The byte.
    """
    return field >> 248
