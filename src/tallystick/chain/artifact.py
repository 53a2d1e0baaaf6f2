"""A compiled contract."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tallystick.chain.extra import ChainExtra

with ChainExtra():
    from eth_utils.crypto import keccak

CODE_LIMIT = 24_576
"""The most bytes of code a contract may have (EIP-170)."""


@dataclass(frozen=True)
class Artifact:
    """What the compiler made of one contract.

    `bytecode` is what a deploying transaction carries before the constructor's arguments; `runtime` is the code that
    ends up on the chain, followed there by `immutable_bytes` bytes that the constructor computed.
    """

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    runtime: bytes
    immutable_bytes: int

    @property
    def code_hash(self) -> str:
        """keccak-256 of the runtime code, in hex."""
        return keccak(self.runtime).hex()

    @property
    def code_size(self) -> int:
        """Bytes on the chain."""
        return len(self.runtime) + self.immutable_bytes

    def to_json(self) -> str:
        """One line of JSON, the same for the same artifact."""
        fields = {
            "name": self.name,
            "abi": self.abi,
            "bytecode": self.bytecode.hex(),
            "runtime": self.runtime.hex(),
            "immutable_bytes": self.immutable_bytes,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Artifact:
        """The artifact that `to_json` wrote. Not for bytes from strangers."""
        fields = json.loads(text)
        return cls(
            fields["name"],
            fields["abi"],
            bytes.fromhex(fields["bytecode"]),
            bytes.fromhex(fields["runtime"]),
            fields["immutable_bytes"],
        )
