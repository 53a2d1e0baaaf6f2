"""Who pays for transactions, and how they sign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from tallystick.chain.abi import Address
from tallystick.chain.extra import ChainExtra
from tallystick.errors import UsageError

with ChainExtra():
    from eth_account import Account
    from eth_account.signers.local import LocalAccount
    from eth_utils.exceptions import ValidationError


class Signer(Protocol):
    """An account that transactions can be sent from."""

    @property
    def address(self) -> Address: ...


class KeySigner:
    """A private key kept in this process. Nothing shows or stores it."""

    def __init__(self, key: bytes | LocalAccount) -> None:
        if not isinstance(key, bytes):
            self._account = key
            return
        try:
            self._account = Account.from_key(key)
        except (ValueError, ValidationError):
            # Without the cause, which may say what the key was.
            raise UsageError(f"These {len(key)} bytes are no private key: that is a number of 32 bytes") from None

    @property
    def address(self) -> Address:
        return self._account.address

    def sign(self, transaction: Mapping[str, Any]) -> bytes:
        """The signed transaction's bytes."""
        return bytes(self._account.sign_transaction(dict(transaction)).raw_transaction)

    def __repr__(self) -> str:
        return f"KeySigner({self.address})"


class NodeSigner:
    """An account whose key the node has: what development nodes offer, and no others should."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def __repr__(self) -> str:
        return f"NodeSigner({self.address})"
