# pragma version ~=0.4.3
"""
@title A token that keeps a part of what is transferred, says that transfers failed, or calls back, as it is told
"""

balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
fee: public(uint256)
fails: public(bool)
target: public(address)
data: public(Bytes[512])
called_back: public(bool)  # whether the last call back was answered


@external
def behave(fee: uint256, fails: bool, target: address, data: Bytes[512]):
    self.fee = fee
    self.fails = fails
    self.target = target
    self.data = data


@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True


@external
def transfer(to: address, amount: uint256) -> bool:
    return self._move(msg.sender, to, amount)


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    return self._move(owner, to, amount)


@internal
def _move(owner: address, to: address, amount: uint256) -> bool:
    if self.target != empty(address):
        self.called_back = raw_call(self.target, self.data, revert_on_failure=False)
    if self.fails:
        return False
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount - self.fee
    return True
