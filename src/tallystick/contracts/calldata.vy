# pragma version ~=0.4.3
"""
@title Fields of the call's data
@license Apache-2.0
@notice
    Numbers are read where they lie in `msg.data`, so that long bytes need not be handed from function to function: they
    would be copied each time. Integers are little-endian. Whoever reads has checked that the field is there: an offset
    beyond the call's data reverts without a reason.
"""

import reader

LONGEST: constant(uint256) = 1024  # bytes that are cut out at once
SHORTER: constant(uint256) = 512


@internal
@view
def u8(at: uint256) -> uint256:
    return convert(slice(msg.data, at, 1), uint256)


@internal
@view
def u16(at: uint256) -> uint256:
    return reader.u16(convert(slice(msg.data, at, 2), uint256) << 240)


@internal
@view
def u32(at: uint256) -> uint256:
    return reader.u32(convert(slice(msg.data, at, 4), uint256) << 224)


@internal
@view
def u64(at: uint256) -> uint256:
    return reader.u64(convert(slice(msg.data, at, 8), uint256) << 192)


@internal
@view
def i64(at: uint256) -> int256:
    return reader.i64(convert(slice(msg.data, at, 8), uint256) << 192)


@internal
@view
def digest(at: uint256) -> bytes32:
    return convert(slice(msg.data, at, 32), bytes32)


@internal
@view
def cut(at: uint256, length: uint256) -> Bytes[LONGEST]:
    """
    @notice So many bytes from there on, at most LONGEST. Where the call's data is shorter than that, it must have
            SHORTER bytes at least, and all but SHORTER of them must lie outside of those that are cut out.
    @dev Only a fixed length can be copied out of the call's data, all of which must be there: hence a window, that is
         cut to what is wanted.
    """
    if len(msg.data) < LONGEST:
        start: uint256 = min(at, len(msg.data) - SHORTER)
        return slice(slice(msg.data, start, SHORTER), at - start, length)
    start: uint256 = min(at, len(msg.data) - LONGEST)
    return slice(slice(msg.data, start, LONGEST), at - start, length)
