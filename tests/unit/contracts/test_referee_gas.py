"""What the referee's functions cost at most: the largest reveals there can be, and everything a dispute needs."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("pyrevm")

from evm.gas import floor_gas, transaction_gas
from evm.referee_twins import Twins
from tallystick.chain.artifact import CODE_LIMIT
from tallystick.chain.compiler import compile_contract
from tallystick.spec.board import Level, Side
from tallystick.spec.referee import Terms
from toy.players import Challenger, LyingDefender, Table
from toy.programs import toy, widest
from toy.story import Lie, Story

MOST = {  # of any call at fanouts up to 64, with kernels of 4096 bytes and accumulators of 272
    "post_claim": 260_000,
    "challenge": 190_000,
    "reveal_interval": 620_000,
    "point_interval": 620_000,
    "reveal_trace": 120_000,
    "point_child": 50_000,
    "reveal_tensor": 450_000,
    "reveal_chunk": 70_000,
    "point_element": 70_000,
    "execute": 900_000,
}


@pytest.fixture(scope="module")
def spent() -> dict[str, int]:
    """The most that each function took in a dispute about the kernel that costs most to reveal."""
    terms = Terms(fanout=64)
    twins = Twins(terms)
    true = Story(toy(widest(), 2).case, 0, 2)
    liar = LyingDefender(true.with_lie(Lie("value", 1, 0, 4)), terms.fanout, random.Random(0))
    liar.wild, liar.turns_wrong = False, 37
    honest, table = Challenger(true, terms.fanout), Table()
    defender, challenger = twins.accounts[:2]
    game = twins.challenge(challenger, twins.post_claim(defender, liar.story.claim))
    dispute, most = twins.spec.games[game], {}
    while not dispute.closed:
        defends = dispute.game.turn is Side.DEFENDER
        move = (liar if defends else honest).answer(dispute.game, table)
        assert move is not None
        twins.move(defender if defends else challenger, game, move)
        table.saw(dispute.game, move)
    assert dispute.game.winner is Side.CHALLENGER
    assert dispute.game.level is Level.SCALAR_STEPS
    for function, gas in twins.contract.spent:
        most[function] = max(gas, most.get(function, 0))
    return most


def test_every_call_is_bounded(spent: dict[str, int]) -> None:
    assert spent.keys() == MOST.keys()
    assert {function: gas for function, gas in spent.items() if gas > MOST[function]} == {}


def test_the_referee_fits() -> None:
    assert compile_contract("Referee").code_size <= CODE_LIMIT


def test_a_transaction_pays_for_its_bytes() -> None:
    assert transaction_gas(b"", 30_000) == 30_000
    assert floor_gas(b"\0\1") == 21_000 + 10 + 40
    assert transaction_gas(b"\1" * 1000, 40_000) == 61_000
