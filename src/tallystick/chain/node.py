"""The door to a chain: the few things that contracts' clients need of one. Bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tallystick.chain.abi import Address
from tallystick.chain.signers import Signer

BLOCK_GAS = 30_000_000
"""What a block of the embedded chain holds, and the most that one transaction may ask for there."""


class Reverted(Exception):
    """A call reverted with this output. `Contract` turns it into ContractReverted; nobody else sees it."""

    def __init__(self, output: bytes) -> None:
        super().__init__(output)
        self.output = output


@dataclass(frozen=True)
class Log:
    """One logged event, undecoded."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    index: int  # within the block
    transaction: str


@dataclass(frozen=True)
class RawReceipt:
    """What became of a transaction that succeeded."""

    transaction: str
    block: int
    timestamp: int
    gas_used: int
    logs: tuple[Log, ...]
    created: Address | None


class Node(Protocol):
    """A chain as seen through one connection. Every method comes back within the connection's time limits.

    All raise ChainError if the chain does not answer or does not take what it is given.
    """

    chain_id: int

    def signers(self) -> Sequence[Signer]:
        """Accounts that transactions can be sent from without further ado."""
        ...

    def call(self, sender: Address, to: Address, data: bytes) -> bytes:
        """What a transaction would return. Raises: Reverted."""
        ...

    def send(self, sender: Signer, to: Address | None, data: bytes, gas: int | None) -> RawReceipt:
        """Send a transaction and wait until a block has it. `to` is None to create a contract; `gas` is the most it may
        use, found out by the node if None. Raises: Reverted.
        """
        ...

    def logs(self, address: Address, first_block: int, last_block: int) -> list[Log]:
        """What one contract logged in these blocks, both included, in order."""
        ...

    def call_data(self, transaction: str) -> bytes:
        """What an included transaction carried."""
        ...

    def code(self, address: Address) -> bytes:
        """The code at an address; empty if there is none."""
        ...

    def balance(self, address: Address) -> int:
        """Wei."""
        ...

    def block_number(self) -> int:
        """Of the latest block."""
        ...

    def now(self) -> int:
        """The time, in seconds since 1970, that a transaction sent now would find, or later."""
        ...

    def advance_time(self, seconds: int) -> None:
        """Let time pass. Development chains only; others raise ChainError."""
        ...
