"""Whole disputes at random, on the contract and on its definition at once: liars lose, honest sides never do, no game
gets stuck, and whatever is done or refused, both agree in every field, every reason and every token.
"""

from __future__ import annotations

import pytest

from toy.match import MINIMAL, NORMAL, play

pytest.importorskip("pyrevm")

BATCH = 50


def play_batch(number: int) -> set[str]:
    """Disputes with seeds of their own; returns which functions of the contract were used."""
    used: set[str] = set()
    for seed in range(number * BATCH, (number + 1) * BATCH):
        match = play(seed, MINIMAL if seed % 2 else NORMAL)
        used |= {function for function, _ in match.twins.contract.spent}
    return used


def test_a_hundred_disputes() -> None:
    used = play_batch(0) | play_batch(1)
    assert len(used) == 12 + 6, "every move and every other function is used"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2, 42))
def test_two_thousand_disputes(number: int) -> None:
    play_batch(number)
