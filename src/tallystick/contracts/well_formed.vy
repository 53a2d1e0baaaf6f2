# pragma version ~=0.4.3
"""
@title Reasons to refuse bytes
@license Apache-2.0
@notice Said here once for all who read: the words of a reason take more code than what they are about.
"""


@internal
@pure
def kernel(holds: bool):
    assert holds, "malformed kernel"


@internal
@pure
def witness(holds: bool):
    assert holds, "malformed witness"
