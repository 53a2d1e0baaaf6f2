# pragma version ~=0.4.3
"""
@title Addresses
@license Apache-2.0
@notice
    A mirror of `tallystick/spec/views.py`, on addresses that lie in the call's data as a kernel holds them:

        base     i64
        strides  i64 [axes]
        computed u8, each i64 stride, u8 register
        guards   u8, each i64 base, i64 stride [axes], u64 limit

    Sums are exact, and need no checks: a few products of 64-bit strides with words and indices do not fill 256 bits.
"""

import calldata
import instructions

MOST_AXES: constant(uint256) = 8
MOST_COMPUTED: constant(uint256) = 2
MOST_GUARDS: constant(uint256) = 16

CLOSED: constant(int256) = min_value(int256)  # no sum comes near it


@internal
@view
def is_open(address_at: uint256, axes: uint256, indices: uint256[MOST_AXES]) -> bool:
    """
    @notice Whether all guards of an address hold.
    """
    affine: uint256 = unsafe_mul(8, unsafe_add(1, axes))
    at: uint256 = self.guards_at(address_at, affine)
    guards: uint256 = calldata.u8(at)
    at = unsafe_add(at, 1)
    for _: uint256 in range(guards, bound=MOST_GUARDS):
        sum: int256 = self.affine(at, axes, indices)
        if sum < 0 or sum >= convert(calldata.u64(unsafe_add(at, affine)), int256):
            return False
        at = unsafe_add(at, unsafe_add(affine, 8))
    return True


@internal
@view
def registers(address_at: uint256, axes: uint256) -> DynArray[uint256, MOST_COMPUTED]:
    """
    @notice The registers that an address is computed from.
    """
    numbers: DynArray[uint256, MOST_COMPUTED] = []
    at: uint256 = unsafe_add(address_at, unsafe_mul(8, unsafe_add(1, axes)))
    count: uint256 = calldata.u8(at)
    at = unsafe_add(at, 9)
    for _: uint256 in range(count, bound=MOST_COMPUTED):
        numbers.append(calldata.u8(at))
        at = unsafe_add(at, 9)
    return numbers


@internal
@view
def located(
    address_at: uint256, axes: uint256, indices: uint256[MOST_AXES], words: DynArray[uint256, MOST_COMPUTED]
) -> int256:
    """
    @notice The number of the element that an address means, which may lie outside of its tensor; or CLOSED.
    @param words What the registers hold that it is computed from
    """
    if not self.is_open(address_at, axes, indices):
        return CLOSED
    sum: int256 = self.affine(address_at, axes, indices)
    at: uint256 = unsafe_add(address_at, unsafe_add(9, unsafe_mul(8, axes)))
    for word: uint256 in words:
        sum = unsafe_add(sum, unsafe_mul(calldata.i64(at), instructions.signed(word)))
        at = unsafe_add(at, 9)
    return sum


@internal
@view
def affine(start: uint256, axes: uint256, indices: uint256[MOST_AXES]) -> int256:
    """
    @notice base + sum(strides * indices)
    """
    sum: int256 = calldata.i64(start)
    at: uint256 = start
    for axis: uint256 in range(axes, bound=MOST_AXES):
        at = unsafe_add(at, 8)
        if indices[axis] != 0:
            sum = unsafe_add(sum, unsafe_mul(calldata.i64(at), convert(indices[axis], int256)))
    return sum


@internal
@view
def end(start: uint256, axes: uint256) -> uint256:
    """
    @notice Where an address ends.
    """
    affine: uint256 = unsafe_mul(8, unsafe_add(1, axes))
    at: uint256 = self.guards_at(start, affine)
    return unsafe_add(unsafe_add(at, 1), unsafe_mul(unsafe_add(affine, 8), calldata.u8(at)))


@internal
@view
def guards_at(start: uint256, affine: uint256) -> uint256:
    """
    @notice Where the guards of an address begin, whose base and strides take so many bytes.
    """
    at: uint256 = unsafe_add(start, affine)
    return unsafe_add(unsafe_add(at, 1), unsafe_mul(9, calldata.u8(at)))
