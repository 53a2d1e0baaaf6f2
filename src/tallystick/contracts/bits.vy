# pragma version ~=0.4.3
"""
@title What Python's integers can do and the EVM's cannot
@license Apache-2.0
"""


@internal
@pure
def bit_length(a: uint256) -> uint256:
    """
    @notice Digits of a number that is not zero, by halving where its first one may be.
    """
    rest: uint256 = a
    length: uint256 = 1
    if rest >= 2**128:
        rest >>= 128
        length = 129
    if rest >= 2**64:
        rest >>= 64
        length = unsafe_add(length, 64)
    if rest >= 2**32:
        rest >>= 32
        length = unsafe_add(length, 32)
    if rest >= 2**16:
        rest >>= 16
        length = unsafe_add(length, 16)
    if rest >= 2**8:
        rest >>= 8
        length = unsafe_add(length, 8)
    if rest >= 2**4:
        rest >>= 4
        length = unsafe_add(length, 4)
    if rest >= 2**2:
        rest >>= 2
        length = unsafe_add(length, 2)
    return unsafe_add(length, rest >> 1)
