# pragma version ~=0.4.3
"""
@title What tests of the chain layer need a contract to do
"""

struct Point:
    x: uint256
    tag: bytes32

struct Line:
    name: String[8]
    points: DynArray[Point, 4]

event Put:
    number: indexed(uint256)
    who: indexed(address)
    note: indexed(String[32])
    line: Line
    blob: Bytes[4096]

event Other:
    pass

START: immutable(uint256)
scratch: transient(uint256)
stored: public(uint256)


@deploy
def __init__(start: uint256):
    assert start != 13, "unlucky"
    START = start
    self.stored = start


@external
@view
def start() -> uint256:
    return START


@external
@pure
def echo(line: Line, blob: Bytes[4096], tag: bytes4, flag: bool, who: address) -> (Line, Bytes[4096], bytes4, bool, address):
    return line, blob, tag, flag, who


@external
@view
def time() -> uint256:
    return block.timestamp


@external
@view
def caller() -> address:
    return msg.sender


@external
def transient_storage() -> uint256:
    self.scratch = 41
    return self.scratch + 1


@external
def store(number: uint256 = 7):
    self.stored = number


@external
def put(number: uint256, note: String[32], line: Line, blob: Bytes[4096]):
    log Put(number=number, who=msg.sender, note=note, line=line, blob=blob)
    log Other()


@external
def fail(reason: String[64]):
    self.stored = 0
    raise reason


@external
def fail_silently():
    self.stored = 0
    raise


@external
def overflow(number: uint256) -> uint256:
    return number + 1


@external
def fail_after(time: uint256):
    assert block.timestamp <= time, "too late"


@external
def spin():
    total: uint256 = 0
    for i: uint256 in range(100_000):
        total = unsafe_add(total, i)
    self.stored = total
