# pragma version ~=0.4.3
"""
@title A token to post bonds with on test networks
@license Apache-2.0
@notice Anyone may mint any amount for anyone, so that whoever wants to take part in a test network needs nobody's leave,
        and so that nobody can mistake the token for money. There is no owner and nothing to administer. A network
        with something at stake names a real ERC-20 instead.
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed

implements: IERC20
implements: IERC20Detailed

name: public(constant(String[32])) = "Tallystick Test Token"
symbol: public(constant(String[8])) = "TTALLY"
decimals: public(constant(uint8)) = 18

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@external
def mint(to: address, amount: uint256) -> bool:
    """
    @notice Make new tokens for `to`.
    """
    assert amount <= max_value(uint256) - self.totalSupply, "supply overflow"
    self.totalSupply += amount
    self.balanceOf[to] += amount  # no balance exceeds the supply, which did not overflow
    log IERC20.Transfer(sender=empty(address), receiver=to, value=amount)
    return True


@external
def transfer(to: address, amount: uint256) -> bool:
    """
    @notice Move the caller's tokens to `to`.
    """
    self._move(msg.sender, to, amount)
    return True


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    """
    @notice Move tokens of `owner`, who approved the caller, to `to`. An allowance of 2**256 - 1 is not used up.
    """
    allowed: uint256 = self.allowance[owner][msg.sender]
    assert amount <= allowed, "insufficient allowance"
    if allowed != max_value(uint256):
        self.allowance[owner][msg.sender] = allowed - amount
    self._move(owner, to, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Let `spender` move up to `amount` of the caller's tokens; replaces what was approved before.
    """
    self.allowance[msg.sender][spender] = amount
    log IERC20.Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@internal
def _move(owner: address, to: address, amount: uint256):
    assert amount <= self.balanceOf[owner], "insufficient balance"
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount
    log IERC20.Transfer(sender=owner, receiver=to, value=amount)
