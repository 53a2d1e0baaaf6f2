# pragma version ~=0.4.3
"""
@title The parsing of kernels
@notice Also returns the gas it took.
"""

import kernels


@external
@view
def describe(kernel: Bytes[4096], output: uint256) -> (kernels.Description, uint256):
    before: uint256 = msg.gas
    description: kernels.Description = kernels.describe(kernel, output)
    return description, before - msg.gas
