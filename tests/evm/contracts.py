"""Vyper contracts compiled and run in this process, without a chain around them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak
from pyrevm import EVM

from tallystick.chain.artifact import Artifact
from tallystick.chain.compiler import CONTRACTS, compile_file

HARNESS = Path(__file__).parent.parent / "contract_harness"

CALLER = "0x" + "11" * 20
GAS = 1 << 40  # per call: far more than anything here takes
ERROR = keccak(b"Error(string)")[:4]


class Reverted(Exception):
    """The call reverted; the message is the contract's reason, or empty where it gave none."""


@cache
def compiled(name: str) -> Artifact:
    """A contract of the package or of the test harness, by the name of its file.

    Raises: UsageError if there is none.
    """
    path = HARNESS / f"{name}.vy"
    return compile_file(path if path.exists() else CONTRACTS / path.name)


class Deployed:
    """A contract in an EVM of its own."""

    __slots__ = ("address", "evm", "gas_used")

    def __init__(self, name: str, *arguments: tuple[str, Any]) -> None:
        """Deploy a contract; ``arguments`` of its constructor are pairs of ABI type and value."""
        self.evm = EVM(gas_limit=GAS)
        self.gas_used = 0
        values = encode([type for type, _ in arguments], [value for _, value in arguments])
        self.evm.set_balance(CALLER, 1 << 100)
        self.address = self.evm.deploy(CALLER, compiled(name).bytecode + values)

    def call(self, signature: str, values: Sequence[Any] = (), returns: Sequence[str] = ()) -> tuple[Any, ...]:
        """Call a function by its signature, such as ``"add(uint256,uint256)"``, and decode what it returns.

        Raises: Reverted, with the contract's reason.
        """
        types = [type for type in signature[signature.index("(") + 1 : -1].split(",") if type]
        return decode(returns, self.call_raw(selector(signature) + encode(types, values)))

    def call_raw(self, data: bytes) -> bytes:
        """Call with these bytes. ``gas_used`` then says what a transaction that does so pays.

        Raises: Reverted, with the contract's reason.
        """
        try:
            answer = self.evm.message_call(CALLER, self.address, data, gas=GAS)
        except RuntimeError as error:
            raise Reverted(reason_of(error)) from error
        finally:
            self.gas_used = self.evm.result.gas_used
        return bytes(answer)


def reason_of(error: RuntimeError) -> str:
    """The reason string in what the EVM says about a call that failed; what it says itself if that is no revert."""
    found = re.fullmatch(r"Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}", str(error))
    if found is None:
        return str(error)
    output = bytes.fromhex(found[1])
    return decode(["string"], output[4:])[0] if output.startswith(ERROR) else output.hex()


@cache
def selector(signature: str) -> bytes:
    """The first four bytes of a call."""
    return keccak(signature.encode())[:4]
