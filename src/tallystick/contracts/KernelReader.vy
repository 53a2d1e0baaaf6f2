# pragma version ~=0.4.3
"""
@title The reader of kernels
@license Apache-2.0
@notice
    Says what a dispute needs to know of a kernel. It holds no state and judges nobody. It is a contract of its own
    because the referee has no room for it.
"""

import kernels


@external
@view
def describe(kernel: Bytes[kernels.ENCODED_KERNEL], output: uint256) -> kernels.Description:
    """
    @notice The type of one of a kernel's outputs, and how its elements are computed.
    """
    return kernels.describe(kernel, output)
