"""The referee contract on the embedded chain, used through its client."""

from __future__ import annotations

from dataclasses import fields

import pytest

from referee_behaviour import RefereeBehaviour
from tallystick.chain.abi import Interface
from tallystick.chain.compiler import compile_contract
from tallystick.chain.connection import Chain
from tallystick.chain.referee import SHORT_WITNESS, function_of
from tallystick.spec.moves import Execute, Move


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain.embedded(accounts=3)


class TestRefereeOnTheEmbeddedChain(RefereeBehaviour):
    faults = ("weight-ulp", "slots-swapped")


EXECUTES = {
    Execute(0, b"", (), bytes(length)): length > SHORT_WITNESS for length in (0, SHORT_WITNESS, SHORT_WITNESS + 1)
}
MOVES = [kind.__new__(kind) for kind in Move.__args__ if kind is not Execute]


@pytest.mark.parametrize("move", [*MOVES, *EXECUTES], ids=lambda move: type(move).__name__)
def test_every_move_is_a_function_of_the_contract(move: Move) -> None:
    """Same name, same arguments in the same order, after the number of the game."""
    artifact = compile_contract("Referee")
    function = Interface("Referee", artifact.abi).function(function_of(move))
    assert [each.name for each in function.inputs][1:] == [field.name for field in fields(move)]


@pytest.mark.parametrize(("move", "is_long"), EXECUTES.items(), ids=["none", "short", "long"])
def test_long_witnesses_have_a_function_of_their_own(move: Execute, is_long: bool) -> None:
    assert function_of(move) == ("execute_long" if is_long else "execute")
