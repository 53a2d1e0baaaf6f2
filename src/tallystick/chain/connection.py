"""A chain to deploy contracts on and to use them: the embedded one, or one behind JSON-RPC."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tallystick.chain.abi import Address, Interface
from tallystick.chain.artifact import Artifact
from tallystick.chain.contract import Contract, send
from tallystick.chain.json_rpc import REQUEST_TIMEOUT_S, TRANSACTION_TIMEOUT_S, JsonRpcNode
from tallystick.chain.node import Node
from tallystick.chain.signers import KeySigner, Signer
from tallystick.errors import ChainError, UsageError


class Chain:
    """A node, and the accounts to send transactions from.

    chain = Chain.embedded()
    token = chain.deploy(compile_contract("TestToken"), sender=chain.signers[0])
    token.transact("mint", chain.signers[1].address, 10**18, sender=chain.signers[0])
    """

    def __init__(self, node: Node, signers: Iterable[Signer] = ()) -> None:
        self.node = node
        self.signers: list[Signer] = [*signers, *node.signers()]

    @classmethod
    def embedded(cls, accounts: int = 10) -> Chain:
        """A fresh chain in this process, with accounts that have ether."""
        from tallystick.chain.embedded import EmbeddedNode  # an EVM takes a while to load

        return cls(EmbeddedNode(accounts))

    @classmethod
    def connect(
        cls,
        url: str,
        keys: Iterable[bytes] = (),
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        transaction_timeout_s: float = TRANSACTION_TIMEOUT_S,
    ) -> Chain:
        """The chain behind a JSON-RPC address. `signers` are these keys, then the accounts the node signs for.

        Raises: ChainError if it does not answer.
        """
        node = JsonRpcNode(url, request_timeout_s, transaction_timeout_s)
        return cls(node, [KeySigner(key) for key in keys])

    @property
    def chain_id(self) -> int:
        return self.node.chain_id

    def signer(self, address: Address) -> Signer:
        """Who signs for an address.

        Raises: UsageError if nobody here does.
        """
        for signer in self.signers:
            if signer.address.lower() == address.lower():
                return signer
        raise UsageError(f"There is no key of {address} here: give it to Chain.connect")

    def now(self) -> int:
        """The time, in seconds since 1970, that a transaction sent now would find, or later."""
        return self.node.now()

    def advance_time(self, seconds: int) -> None:
        """Let time pass, on a development chain."""
        if seconds < 0:
            raise UsageError(f"Time does not go back by {-seconds} s")
        self.node.advance_time(seconds)

    def block_number(self) -> int:
        """Of the latest block."""
        return self.node.block_number()

    def balance(self, address: Address) -> int:
        """Wei."""
        return self.node.balance(address)

    def contract(self, artifact: Artifact, address: Address) -> Contract:
        """A contract that is there already.

        Raises: ChainError if the code at the address is not this artifact's.
        """
        code = self.node.code(address)
        if code[: len(artifact.runtime)] != artifact.runtime or len(code) != artifact.code_size:
            found = f"other code ({len(code)} bytes)" if code else "no code"
            raise ChainError(
                f"At {address} on chain {self.chain_id} there is {found}, not {artifact.name}:"
                " is it the right chain, and a deployment by this version?"
            )
        return Contract(self.node, Interface(artifact.name, artifact.abi), address)

    def deploy(self, artifact: Artifact, *arguments: Any, sender: Signer, gas: int | None = None) -> Contract:
        """Create a contract and wait until it is there.

        Raises: ContractReverted if its constructor refuses; ChainError.
        """
        interface = Interface(artifact.name, artifact.abi)
        data = artifact.bytecode + interface.constructor.encode(arguments)
        raw = send(self.node, sender, None, data, artifact.name, gas)
        if raw.created is None:
            raise ChainError(f"Transaction {raw.transaction} created no contract")
        return self.contract(artifact, raw.created)
