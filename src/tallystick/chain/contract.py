"""A contract on a chain: calls, transactions and events in Python's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.chain.abi import Address, Interface, revert_reason
from tallystick.chain.node import Log, Node, RawReceipt, Reverted
from tallystick.chain.signers import Signer
from tallystick.errors import ChainError, ContractReverted

NOBODY = "0x" + "00" * 20


@dataclass(frozen=True)
class Event:
    """Something a contract logged."""

    name: str
    values: Mapping[str, Any]
    address: Address
    block: int
    index: int  # within the block
    transaction: str


@dataclass(frozen=True)
class Receipt:
    """What a transaction did. `events` are those of the contract it was sent to."""

    transaction: str
    block: int
    timestamp: int
    gas_used: int
    events: tuple[Event, ...]

    def event(self, name: str) -> Event:
        """The event of this name.

        Raises: ChainError if it was not logged.
        """
        for event in self.events:
            if event.name == name:
                return event
        raise ChainError(f"Transaction {self.transaction} logged no {name}; is it this contract at that address?")


class Contract:
    """An address, and the interface of what is there."""

    def __init__(self, node: Node, interface: Interface, address: Address) -> None:
        self.node = node
        self.interface = interface
        self.address = address

    def call(self, function: str, *arguments: Any, sender: Address = NOBODY) -> Any:
        """What a function returns, without a transaction.

        Raises: ContractReverted; ChainError; UsageError if the contract has no such function.
        """
        chosen = self.interface.function(function, len(arguments))
        try:
            output = self.node.call(sender, self.address, chosen.encode(arguments))
        except Reverted as reverted:
            raise ContractReverted(chosen.name, revert_reason(reverted.output)) from None
        return chosen.decode(output)

    def transact(self, function: str, *arguments: Any, sender: Signer, gas: int | None = None) -> Receipt:
        """Send a transaction and wait until it is in a block. `gas` is the most it may use; by default what it needs.

        Raises: ContractReverted, and then nothing changed; ChainError; UsageError if the contract has no such function.
        """
        chosen = self.interface.function(function, len(arguments))
        return self.receipt(send(self.node, sender, self.address, chosen.encode(arguments), chosen.name, gas))

    def events(self, name: str | None = None, first_block: int = 0, last_block: int | None = None) -> list[Event]:
        """What the contract logged in these blocks, both included, in order; `name` picks one kind of event."""
        if name is not None:
            self.interface.event(name)  # a name that does not exist is a mistake, not an absence
        last = self.node.block_number() if last_block is None else last_block
        found = [self._event(log) for log in self.node.logs(self.address, first_block, last)]
        return [event for event in found if event is not None and name in (None, event.name)]

    def call_arguments(self, function: str, transaction: str) -> dict[str, Any]:
        """The arguments, by name, of a transaction that called this function. Arguments of one that reached the
        contract through another contract are not found this way.

        Raises: ChainError if the transaction is unknown, or called something else.
        """
        data = self.node.call_data(transaction)
        return self.interface.called(function, data).decode_arguments(data)

    def receipt(self, raw: RawReceipt) -> Receipt:
        """A receipt with what this contract logged decoded."""
        events = [self._event(log) for log in raw.logs if log.address.lower() == self.address.lower()]
        known = tuple(event for event in events if event is not None)
        return Receipt(raw.transaction, raw.block, raw.timestamp, raw.gas_used, known)

    def _event(self, log: Log) -> Event | None:
        kind = self.interface.event_of(log.topics)
        if kind is None:
            return None
        values = kind.decode(log.topics, log.data)
        return Event(kind.name, values, log.address, log.block, log.index, log.transaction)


class EventCursor:
    """Reads a contract's events once each. It trusts that blocks stay: a chain's reorganisation is not noticed."""

    def __init__(self, contract: Contract, next_block: int = 0) -> None:
        self.contract = contract
        self.next_block = next_block

    def read(self) -> list[Event]:
        """What was logged since the last time, or from the first block on."""
        last = self.contract.node.block_number()
        if last < self.next_block:
            return []
        found = self.contract.events(None, self.next_block, last)
        self.next_block = last + 1
        return found


def send(node: Node, sender: Signer, to: Address | None, data: bytes, name: str, gas: int | None) -> RawReceipt:
    """Send a transaction; `name` says in an error what it called.

    Raises: ContractReverted; ChainError.
    """
    try:
        return node.send(sender, to, data, gas)
    except Reverted as reverted:
        raise ContractReverted(name, revert_reason(reverted.output)) from None
