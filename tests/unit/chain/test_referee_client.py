"""The referee contract on the embedded chain, used through its client."""

from __future__ import annotations

from dataclasses import fields

import pytest

from referee_behaviour import RefereeBehaviour
from tallystick.chain.abi import Interface
from tallystick.chain.compiler import compile_contract
from tallystick.chain.connection import Chain
from tallystick.chain.referee import function_of
from tallystick.spec.moves import Move


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain.embedded(accounts=3)


class TestRefereeOnTheEmbeddedChain(RefereeBehaviour):
    faults = ("weight-ulp", "slots-swapped")


@pytest.mark.parametrize("kind", Move.__args__)
def test_every_move_is_a_function_of_the_contract(kind: type) -> None:
    """Same name, same arguments in the same order, after the number of the game."""
    artifact = compile_contract("Referee")
    function = Interface("Referee", artifact.abi).function(function_of(kind.__new__(kind)))
    assert [each.name for each in function.inputs][1:] == [field.name for field in fields(kind)]
