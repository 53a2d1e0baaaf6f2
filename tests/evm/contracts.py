"""Vyper contracts compiled and run in this process, without a chain around them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak
from pyrevm import EVM
from vyper.compiler import compile_from_file_input
from vyper.compiler.input_bundle import FileInput, FilesystemInputBundle
from vyper.compiler.settings import OptimizationLevel, Settings

import tallystick

CONTRACTS = Path(tallystick.__file__).parent / "contracts"
HARNESS = Path(__file__).parent.parent / "contract_harness"

CALLER = "0x" + "11" * 20
GAS = 1 << 40  # per call: far more than anything here takes
ERROR = keccak(b"Error(string)")[:4]
CODE_SIZE = 24_576  # bytes; EIP-170


class Reverted(Exception):  # noqa: N818 - an outcome that tests ask for
    """The call reverted; the message is the contract's reason, or empty where it gave none."""


@dataclass(frozen=True)
class Compiled:
    """What the compiler makes of one deployable contract."""

    name: str
    creation: bytes
    runtime: bytes


@cache
def compiled(name: str) -> Compiled:
    """A contract of the package or of the test harness, by the name of its file.

    Raises: FileNotFoundError if there is none.
    """
    path = next((path for folder in (CONTRACTS, HARNESS) if (path := folder / f"{name}.vy").exists()), None)
    if path is None:
        raise FileNotFoundError(f"there is no {name}.vy in {CONTRACTS} or {HARNESS}")
    bundle = FilesystemInputBundle([CONTRACTS, HARNESS])
    source = bundle.load_file(path)
    assert isinstance(source, FileInput)
    made = compile_from_file_input(
        source,
        input_bundle=bundle,
        output_formats=["bytecode", "bytecode_runtime"],
        settings=Settings(optimize=OptimizationLevel.GAS),
    )
    return Compiled(name, bytes.fromhex(made["bytecode"][2:]), bytes.fromhex(made["bytecode_runtime"][2:]))


class Deployed:
    """A contract in an EVM of its own."""

    __slots__ = ("address", "evm", "gas_used")

    def __init__(self, name: str, *arguments: tuple[str, Any]) -> None:
        """Deploy a contract; ``arguments`` of its constructor are pairs of ABI type and value."""
        self.evm = EVM(gas_limit=GAS)
        self.gas_used = 0
        values = encode([type for type, _ in arguments], [value for _, value in arguments])
        self.evm.set_balance(CALLER, 1 << 100)
        self.address = self.evm.deploy(CALLER, compiled(name).creation + values)

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
