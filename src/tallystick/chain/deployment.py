"""Where the contracts of a network are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tallystick.chain.abi import Address
from tallystick.chain.compiler import compile_contract
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Contract
from tallystick.errors import ChainError, UsageError

_FORMAT = "tallystick deployment 1"
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_MOST_BYTES = 100_000


@dataclass(frozen=True)
class Deployment:
    """The addresses of a network's contracts, by the contracts' names, and the block from which on they log."""

    chain_id: int
    first_block: int
    addresses: Mapping[str, Address]

    def contract(self, chain: Chain, name: str) -> Contract:
        """One of the contracts.

        Raises: ChainError if this is another chain, or other code is there; UsageError if the network has no such
                contract.
        """
        if chain.chain_id != self.chain_id:
            raise ChainError(
                f"This deployment is on chain {self.chain_id}, and the node is of chain {chain.chain_id}:"
                " connect to a node of that chain"
            )
        if name not in self.addresses:
            raise UsageError(f"This deployment has no {name}; it has {', '.join(sorted(self.addresses))}")
        return chain.contract(compile_contract(name), self.addresses[name])

    def save(self, path: Path) -> None:
        """Write it down as JSON."""
        fields = {
            "format": _FORMAT,
            "chain_id": self.chain_id,
            "first_block": self.first_block,
            "addresses": dict(self.addresses),
        }
        path.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read what `save` wrote.

        Raises: UsageError if that is not what it is.
        """
        try:
            with path.open("rb") as file:
                fields: Any = json.loads(file.read(_MOST_BYTES))
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise UsageError(f"{path} is not JSON: {error}") from error
        if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
            raise UsageError(f"{path} is not a deployment: it does not say {_FORMAT!r}")
        chain_id: Any = fields.get("chain_id")
        first_block: Any = fields.get("first_block")
        addresses: Any = fields.get("addresses")
        if not _is_number(chain_id) or not _is_number(first_block):
            raise UsageError(f"{path}: chain_id and first_block have to be numbers")
        if not isinstance(addresses, dict) or not all(map(_is_address, addresses.values())):
            raise UsageError(f"{path}: addresses have to be '0x' and 40 hex digits")
        return cls(chain_id, first_block, addresses)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and _ADDRESS.fullmatch(value) is not None
