"""Where the contracts of a network are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tallystick.chain.abi import Address
from tallystick.chain.compiler import compile_contract
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Contract
from tallystick.errors import ChainError, UsageError

_FORMAT: Literal["tallystick deployment 1"] = "tallystick deployment 1"
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
        written = _File(
            format=_FORMAT, chain_id=self.chain_id, first_block=self.first_block, addresses=dict(self.addresses)
        )
        path.write_text(written.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read what `save` wrote.

        Raises: UsageError if that is not what it is.
        """
        try:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from error
        try:
            read = _File.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise UsageError(f"{path} is not a deployment: {place}: {first['msg']}") from None
        return cls(read.chain_id, read.first_block, read.addresses)


class _File(BaseModel):
    """A deployment as it is stored."""

    model_config = ConfigDict(strict=True, extra="forbid")

    format: Literal["tallystick deployment 1"]
    chain_id: Annotated[int, Field(ge=0)]
    first_block: Annotated[int, Field(ge=0)]
    addresses: dict[str, Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$")]]
