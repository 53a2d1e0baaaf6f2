"""A chain inside this process: py-evm under the rules of Ethereum's Prague fork, a block for every transaction.

Its clock is its own: a second passes with every block, and more only through `advance_time`, so that a run gives the
same blocks on every machine and at every time of day.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from tallystick.chain.abi import Address
from tallystick.chain.extra import ChainExtra
from tallystick.chain.node import BLOCK_GAS, Log, RawReceipt, Reverted
from tallystick.chain.signers import KeySigner, Signer
from tallystick.errors import ChainError, UsageError

with ChainExtra():
    from eth.exceptions import Revert
    from eth.vm.forks.prague import PragueVM
    from eth.vm.spoof import SpoofTransaction
    from eth_tester.backends.pyevm import PyEVMBackend
    from eth_utils.address import to_canonical_address, to_checksum_address
    from eth_utils.exceptions import ValidationError

START_TIME = 1_700_000_000
ETHER = 10**18
_FUNDS = 1_000_000 * ETHER
_TIP = 10**9  # wei per gas


class EmbeddedNode:
    """A fresh chain with some accounts that have ether. Nothing outlives the object."""

    def __init__(self, accounts: int = 10, start_time: int = START_TIME) -> None:
        self._signers = [
            KeySigner(sha256(b"tallystick embedded account %d" % number).digest()) for number in range(accounts)
        ]
        account = {"balance": _FUNDS, "nonce": 0, "code": b"", "storage": {}}
        backend = PyEVMBackend(
            genesis_parameters=PyEVMBackend.generate_genesis_params(
                {"timestamp": start_time, "gas_limit": BLOCK_GAS},
            ),
            genesis_state={to_canonical_address(signer.address): dict(account) for signer in self._signers},
            vm_configuration=((0, PragueVM),),
        )
        self._chain: Any = backend.chain
        self._next_time = start_time + 1
        self._logs: list[Log] = []
        self._call_data: dict[str, bytes] = {}
        self.chain_id: int = self._chain.chain_id

    def signers(self) -> Sequence[Signer]:
        return self._signers

    def call(self, sender: Address, to: Address, data: bytes) -> bytes:
        unsigned = self._chain.create_unsigned_transaction(
            nonce=0, gas_price=0, gas=BLOCK_GAS, to=to_canonical_address(to), value=0, data=data
        )
        state = self._chain.get_vm(self._pending().copy(base_fee_per_gas=0)).state  # a call is free
        nonce = state.get_nonce(to_canonical_address(sender))
        transaction = SpoofTransaction(unsigned.copy(nonce=nonce), from_=to_canonical_address(sender))
        computation = state.apply_transaction(transaction)
        _raise_if_reverted(computation)
        return computation.output

    def send(self, sender: Signer, to: Address | None, data: bytes, gas: int | None) -> RawReceipt:
        if not isinstance(sender, KeySigner):
            raise UsageError(f"The embedded chain holds no key of {sender.address}: sign with a KeySigner")
        pending = self._pending()
        vm = self._chain.get_vm(pending)
        fields = {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": vm.state.get_nonce(to_canonical_address(sender.address)),
            "maxFeePerGas": 2 * pending.base_fee_per_gas + _TIP,
            "maxPriorityFeePerGas": _TIP,
            "gas": BLOCK_GAS if gas is None else gas,
            "to": b"" if to is None else to,
            "value": 0,
            "data": data,
        }
        transaction = vm.get_transaction_builder().decode(sender.sign(fields))
        self._chain.header = pending
        try:
            _, receipt, computation = self._chain.apply_transaction(transaction)
        except ValidationError as error:
            raise ChainError(f"The embedded chain does not take this transaction: {error}") from error
        block = self._mine()
        name = "0x" + transaction.hash.hex()
        _raise_if_reverted(computation)
        logs = tuple(
            Log(
                to_checksum_address(log.address),
                tuple(topic.to_bytes(32, "big") for topic in log.topics),
                log.data,
                block.number,
                index,
                name,
            )
            for index, log in enumerate(receipt.logs)
        )
        self._logs += logs
        self._call_data[name] = data
        created = to_checksum_address(computation.msg.storage_address) if to is None else None
        return RawReceipt(name, block.number, block.header.timestamp, receipt.gas_used, logs, created)

    def logs(self, address: Address, first_block: int, last_block: int) -> list[Log]:
        wanted = address.lower()
        return [log for log in self._logs if first_block <= log.block <= last_block and log.address.lower() == wanted]

    def call_data(self, transaction: str) -> bytes:
        if transaction not in self._call_data:
            raise ChainError(f"The embedded chain has no transaction {transaction}")
        return self._call_data[transaction]

    def code(self, address: Address) -> bytes:
        return self._chain.get_vm(self._pending()).state.get_code(to_canonical_address(address))

    def balance(self, address: Address) -> int:
        return self._chain.get_vm(self._pending()).state.get_balance(to_canonical_address(address))

    def block_number(self) -> int:
        return self._chain.header.block_number - 1

    def now(self) -> int:
        return self._next_time

    def advance_time(self, seconds: int) -> None:
        self._next_time += seconds
        self._chain.header = self._pending()
        self._mine()

    def _pending(self) -> Any:
        """The header of the block that comes next. py-evm would take its time from the machine's clock."""
        return self._chain.header.copy(timestamp=self._next_time)

    def _mine(self) -> Any:
        block = self._chain.mine_block()
        self._next_time = block.header.timestamp + 1
        return block


def _raise_if_reverted(computation: Any) -> None:
    if computation.is_error:
        raise Reverted(computation.output if isinstance(computation.error, Revert) else b"")
