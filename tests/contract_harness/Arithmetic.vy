# pragma version ~=0.4.3
"""
@title The arithmetic modules, many cases at a time
@notice Every result is a word with the gas it took, packed as word + gas * 2**32.
"""

import instructions
import merkle
import tensors

CASES: constant(uint256) = 2048
MASK: constant(uint256) = 2**32 - 1


@external
@view
def compute(op: uint256, cases: DynArray[uint256, CASES]) -> DynArray[uint256, CASES]:
    """
    @notice One instruction on operands packed as a + b * 2**32 + c * 2**64.
    """
    results: DynArray[uint256, CASES] = []
    for case: uint256 in cases:
        a: uint256 = case & MASK
        b: uint256 = (case >> 32) & MASK
        c: uint256 = (case >> 64) & MASK
        before: uint256 = msg.gas
        word: uint256 = instructions.compute(op, a, b, c)
        results.append(word | (before - msg.gas) << 32)
    return results


@external
@view
def widen(dtype: uint256, cases: DynArray[uint256, CASES]) -> DynArray[uint256, CASES]:
    results: DynArray[uint256, CASES] = []
    for bits: uint256 in cases:
        before: uint256 = msg.gas
        word: uint256 = tensors.widen(dtype, bits)
        results.append(word | (before - msg.gas) << 32)
    return results


@external
@view
def narrow(dtype: uint256, cases: DynArray[uint256, CASES]) -> DynArray[uint256, CASES]:
    results: DynArray[uint256, CASES] = []
    for word: uint256 in cases:
        before: uint256 = msg.gas
        bits: uint256 = tensors.narrow(dtype, word)
        results.append(bits | (before - msg.gas) << 32)
    return results


@external
@view
def size(dtype: uint256) -> uint256:
    return tensors.size(dtype)
