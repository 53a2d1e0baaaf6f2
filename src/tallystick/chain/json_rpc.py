"""A chain behind Ethereum's JSON-RPC, by HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from tallystick.chain.abi import Address
from tallystick.chain.extra import ChainExtra
from tallystick.chain.node import Log, RawReceipt, Reverted
from tallystick.chain.signers import KeySigner, NodeSigner, Signer
from tallystick.errors import ChainError, UsageError

with ChainExtra():
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import RequestException, Timeout
    from web3 import HTTPProvider, Web3
    from web3.exceptions import (
        ContractLogicError,
        MethodUnavailable,
        TransactionNotFound,
        Web3Exception,
        Web3RPCError,
    )
    from web3.providers.rpc.utils import ExceptionRetryConfiguration
    from web3.types import RPCEndpoint, TxParams

REQUEST_TIMEOUT_S = 20.0
TRANSACTION_TIMEOUT_S = 180.0
LOG_BLOCKS = 1_000
"""Blocks asked for at a time: public nodes refuse long ranges."""
_ASKED_AGAIN = [
    "eth_blockNumber",
    "eth_call",
    "eth_chainId",
    "eth_estimateGas",
    "eth_gasPrice",
    "eth_getBalance",
    "eth_getBlockByNumber",
    "eth_getCode",
    "eth_getLogs",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_maxPriorityFeePerGas",
]
"""Questions that may be repeated when no answer comes. A transaction may have arrived all the same."""
_GAS_MARGIN = 1.2  # another transaction before ours may make it dearer than when it was estimated
_FIRST_POLL_S = 0.01
_LONGEST_POLL_S = 2.0

_QUOTED = 200
"""Characters of a strange answer that are worth showing."""

T = TypeVar("T")


class JsonRpcNode:
    """A node, and how long to wait for it.

    Shapes: `request_timeout_s` for one request, which is tried up to three times where that cannot do harm;
            `transaction_timeout_s` from sending a transaction until a block has it.
    """

    def __init__(
        self,
        url: str,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        transaction_timeout_s: float = TRANSACTION_TIMEOUT_S,
    ) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UsageError("A chain is named by the http:// or https:// address of its JSON-RPC")
        # The rest of an address often is somebody's key, and belongs into no message.
        self.name = f"{address.scheme}://{address.hostname}{f':{address.port}' if address.port else ''}"
        retries = ExceptionRetryConfiguration(
            errors=(NoConnection, Timeout), retries=3, backoff_factor=0.2, method_allowlist=_ASKED_AGAIN
        )
        provider = HTTPProvider(
            url, request_kwargs={"timeout": request_timeout_s}, exception_retry_configuration=retries
        )
        self._web3 = Web3(provider)
        self._transaction_timeout_s = transaction_timeout_s
        self.chain_id: int = self._ask(lambda: self._web3.eth.chain_id)

    def signers(self) -> Sequence[Signer]:
        try:
            return [NodeSigner(address) for address in self._ask(lambda: self._web3.eth.accounts)]
        except ChainError:
            return []  # most nodes hold no keys, and many do not answer the question

    def call(self, sender: Address, to: Address, data: bytes) -> bytes:
        return bytes(self._ask(lambda: self._web3.eth.call(_fields({"from": sender, "to": to, "data": data}))))

    def send(self, sender: Signer, to: Address | None, data: bytes, gas: int | None) -> RawReceipt:
        fields: dict[str, Any] = {"from": sender.address, "data": data}
        if to is not None:
            fields["to"] = to
        if gas is None:
            gas = int(self._ask(lambda: self._web3.eth.estimate_gas(_fields(fields))) * _GAS_MARGIN)
        fields["gas"] = gas
        if isinstance(sender, KeySigner):
            name = self._send_signed(sender.sign(self._complete(fields)))
        else:
            name = self._ask(lambda: self._web3.eth.send_transaction(_fields(fields))).to_0x_hex()
        return self._receipt(name, fields)

    def logs(self, address: Address, first_block: int, last_block: int) -> list[Log]:
        found: list[Log] = []
        for start in range(first_block, last_block + 1, LOG_BLOCKS):
            query: Any = {
                "address": Web3.to_checksum_address(address),
                "fromBlock": start,
                "toBlock": min(start + LOG_BLOCKS - 1, last_block),
            }
            found += self._ask(lambda query=query: [_log(entry) for entry in self._web3.eth.get_logs(query)])
        return found

    def call_data(self, transaction: str) -> bytes:
        return self._ask(lambda: bytes(cast(Any, self._web3.eth.get_transaction(cast(Any, transaction)))["input"]))

    def code(self, address: Address) -> bytes:
        return bytes(self._ask(lambda: self._web3.eth.get_code(Web3.to_checksum_address(address))))

    def balance(self, address: Address) -> int:
        return self._ask(lambda: self._web3.eth.get_balance(Web3.to_checksum_address(address)))

    def block_number(self) -> int:
        return self._ask(lambda: self._web3.eth.block_number)

    def now(self) -> int:
        # On an idle development chain the latest block may be old: what counts is when the next would be.
        try:
            return self._ask(lambda: self._time("pending"))
        except ChainError:
            return self._ask(lambda: self._time("latest"))

    def advance_time(self, seconds: int) -> None:
        try:
            self.request("evm_increaseTime", [seconds])
            self.request("evm_mine", [])
        except ChainError as error:
            raise ChainError(f"{self.name} does not let its clock be moved; only development chains do") from error

    def _time(self, block: Any) -> int:
        return int(self._web3.eth.get_block(block)["timestamp"])  # pyright: ignore[reportTypedDictNotRequiredAccess]

    def request(self, method: str, arguments: list[Any]) -> Any:
        """Anything else that this node knows, by the method's name."""
        return self._ask(lambda: self._web3.manager.request_blocking(RPCEndpoint(method), arguments))

    def _complete(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A transaction as it is signed: with the chain's identity, the account's next nonce and what gas may cost."""
        nonce = self._ask(lambda: self._web3.eth.get_transaction_count(fields["from"], "pending"))
        base_fee = self._ask(lambda: self._web3.eth.get_block("latest").get("baseFeePerGas"))
        if base_fee is None:
            fees = {"gasPrice": self._ask(lambda: self._web3.eth.gas_price)}
        else:
            tip = self._ask(lambda: self._web3.eth.max_priority_fee)
            fees = {"type": 2, "maxFeePerGas": 2 * base_fee + tip, "maxPriorityFeePerGas": tip}
        rest = {name: value for name, value in fields.items() if name != "from"}
        return {**rest, **fees, "chainId": self.chain_id, "nonce": nonce, "value": 0}

    def _receipt(self, name: str, fields: dict[str, Any]) -> RawReceipt:
        """Wait for a transaction to be in a block."""
        deadline = time.monotonic() + self._transaction_timeout_s
        pause = _FIRST_POLL_S
        while (found := self._find_receipt(name)) is None:
            if time.monotonic() > deadline:
                raise ChainError(
                    f"{self.name} did not put transaction {name} into a block within {self._transaction_timeout_s:g} s."
                    " It may still do so: look before sending it again",
                    transaction=name,
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL_S)
        if self._ask(lambda: found["status"] != 1):
            raise Reverted(self._why(fields, found["blockNumber"]))
        return self._ask(lambda: self._read_receipt(found))

    def _read_receipt(self, found: Any) -> RawReceipt:
        return RawReceipt(
            found["transactionHash"].to_0x_hex(),
            found["blockNumber"],
            self._time(found["blockNumber"]),
            found["gasUsed"],
            tuple(_log(entry) for entry in found["logs"]),
            found["contractAddress"],
        )

    def _send_signed(self, signed: bytes) -> str:
        try:
            return self._ask(lambda: self._web3.eth.send_raw_transaction(signed)).to_0x_hex()
        except _SilentError as error:
            name = Web3.keccak(signed).to_0x_hex()
            raise ChainError(f"{error} It may have got the transaction all the same", name) from error

    def _find_receipt(self, name: str) -> Any:
        try:
            return self._ask(lambda: self._web3.eth.get_transaction_receipt(cast(Any, name)))
        except _UnknownTransactionError:
            return None

    def _why(self, fields: dict[str, Any], block: int) -> bytes:
        """Run a transaction that failed once more, after the block it failed in, for what it says."""
        try:
            self._ask(lambda: self._web3.eth.call(_fields(fields), block))
        except Reverted as reverted:
            return reverted.output
        except ChainError:
            pass  # some nodes answer so when there was not enough gas
        return b""

    def _ask(self, question: Callable[[], T]) -> T:
        """An answer, or what went wrong in this package's terms."""
        try:
            return question()
        except ContractLogicError as error:
            raise Reverted(_revert_output(error)) from None
        except TransactionNotFound as error:
            raise _UnknownTransactionError(str(error)) from error
        except RequestException as error:
            # Without the cause, whose text has the whole address.
            raise _SilentError(
                f"{self.name} does not answer ({type(error).__name__}): is the node running, and its address right?"
            ) from None
        except MethodUnavailable as error:
            raise ChainError(f"{self.name} does not know what it was asked: {error}") from error
        except Web3RPCError as error:
            raise ChainError(f"{self.name} refuses: {_refusal(error)}") from error
        except (Web3Exception, ValueError, TypeError, KeyError, AttributeError) as error:
            # The last four: whatever web3 trips over where an answer has another form than it expects.
            raise ChainError(f"{self.name} answers what no chain should: {str(error)[:_QUOTED]}") from error


class _SilentError(ChainError):
    """The node does not answer."""


class _UnknownTransactionError(ChainError):
    """The node does not know this transaction, or not yet."""


def _fields(fields: dict[str, Any]) -> TxParams:
    return cast(TxParams, fields)


def _log(entry: Any) -> Log:
    return Log(
        entry["address"],
        tuple(bytes(topic) for topic in entry["topics"]),
        bytes(entry["data"]),
        entry["blockNumber"],
        entry["logIndex"],
        entry["transactionHash"].to_0x_hex(),
    )


def _revert_output(error: ContractLogicError) -> bytes:
    """The output of a reverted call, as far as the node told it."""
    data = error.data
    if isinstance(data, str):
        try:
            return bytes.fromhex(data.removeprefix("0x"))
        except ValueError:
            return b""
    return b""


def _refusal(error: Web3RPCError) -> str:
    answer: Any = error.rpc_response or {}
    return str((answer.get("error") or {}).get("message") or error)
