"""The seconds of a move, and those of all moves of one side."""

from __future__ import annotations

import pytest

pytest.importorskip("pyrevm")

from evm.referee_twins import Twins
from tallystick.errors import IllegalMove
from tallystick.spec.moves import PointInterval, RevealInterval
from tallystick.spec.referee import Terms
from toy.match import truth

TERMS = Terms(fanout=2, move_s=60, total_s=100)


def test_both_clocks_run_out() -> None:
    twins, true = Twins(TERMS), truth("counter", 0, 1100)
    defender, challenger, stranger = twins.accounts[:3]
    game = twins.challenge(challenger, twins.post_claim(defender, true.claim))
    first, second = RevealInterval(true.root(550)), RevealInterval(true.root(825))
    twins.wait(61)
    with pytest.raises(IllegalMove, match="too late"):
        twins.move(defender, game, first)
    twins.wait(-1)
    twins.move(defender, game, first)  # in the last second of the move
    twins.move(challenger, game, PointInterval(2, first.items))
    twins.wait(41)
    with pytest.raises(IllegalMove, match="too late"):  # 40 of 100 seconds were left
        twins.move(defender, game, second)
    twins.wait(-1)
    with pytest.raises(IllegalMove, match="not too late yet"):
        twins.timeout(stranger, game)
    twins.move(defender, game, second)  # in the last second of all
    twins.wait(60)
    twins.move(challenger, game, PointInterval(1, second.items))
    assert twins.contract.view("deadline", game) == twins.now
    twins.wait(1)
    twins.timeout(stranger, game)
    assert twins.spec.owed[challenger] > 0
