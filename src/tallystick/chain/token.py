"""The token that bonds are posted in."""

from __future__ import annotations

from tallystick.chain.abi import Address
from tallystick.chain.bindings import Binding, reads, sends
from tallystick.chain.contract import Receipt
from tallystick.chain.signers import Signer


class Token(Binding):
    """Any ERC-20; `mint` is there on test networks only."""

    @reads("balanceOf")
    def balance_of(self, owner: Address) -> int: ...

    @reads("allowance")
    def allowance(self, owner: Address, spender: Address) -> int: ...

    @reads("totalSupply")
    def total_supply(self) -> int: ...

    @sends("mint")
    def mint(self, to: Address, amount: int, *, sender: Signer) -> Receipt: ...

    @sends("transfer")
    def transfer(self, to: Address, amount: int, *, sender: Signer) -> Receipt: ...

    @sends("transferFrom")
    def transfer_from(self, owner: Address, to: Address, amount: int, *, sender: Signer) -> Receipt: ...

    @sends("approve")
    def approve(self, spender: Address, amount: int, *, sender: Signer) -> Receipt: ...
