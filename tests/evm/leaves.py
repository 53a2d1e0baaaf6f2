"""Scalar steps executed by the contract."""

from __future__ import annotations

from collections.abc import Sequence

from eth_abi.abi import encode

from evm.contracts import Deployed, selector
from tallystick.spec.leaf import Trace
from tallystick.spec.scalar_steps import Place

EXECUTE = "execute_leaf(bytes,uint256,(uint256,uint256,uint256),uint256,bytes,bytes,(bytes32,uint256))"
TYPES = ("bytes", "uint256", "(uint256,uint256,uint256)", "uint256", "bytes", "bytes", "(bytes32,uint256)")


class LeafContract:
    """`LeafExecutor.vy` behind the definition's types."""

    def __init__(self) -> None:
        self.contract = Deployed("LeafExecutor")

    def execute(
        self,
        kernel_bytes: bytes,
        first_value: int,
        place: Place,
        position: int,
        accumulators: Sequence[int],
        witness: bytes,
        trace: Trace,
    ) -> bytes:
        """The digest of the accumulators, or bits, after a scalar step.

        Raises: Reverted, with the contract's reason.
        """
        words = b"".join(word.to_bytes(4, "little") for word in accumulators)
        where = (place.output, place.element, place.step)
        values = (kernel_bytes, first_value, where, position, words, witness, (trace.root, trace.values))
        return self.contract.call_raw(selector(EXECUTE) + encode(TYPES, values))

    @property
    def gas_used(self) -> int:
        """By the last call, calldata and the fixed price of a transaction included."""
        return self.contract.gas_used
