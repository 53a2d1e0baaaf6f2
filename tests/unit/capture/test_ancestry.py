"""Which clusters need which others stays right while clusters are merged."""

from __future__ import annotations

import random

from tallystick.capture.kernels.ancestry import Ancestry


def reachable(needed: dict[int, set[int]], number: int) -> set[int]:
    """All that a cluster needs, directly or not, found by walking."""
    found: set[int] = set()
    stack = list(needed[number])
    while stack:
        other = stack.pop()
        if other not in found:
            found.add(other)
            stack.extend(needed[other])
    return found


def agree(ancestry: Ancestry, needed: dict[int, set[int]]) -> None:
    for number in needed:
        found = {other for other in needed if ancestry.comes_before(other, number)}
        assert found == reachable(needed, number)


def test_a_chain_and_what_stands_beside_it() -> None:
    ancestry = Ancestry([(3, []), (5, [3]), (4, []), (9, [5])])
    assert ancestry.comes_before(3, 9)
    assert not ancestry.comes_before(9, 3)
    assert not ancestry.comes_before(4, 9)
    assert not ancestry.comes_before(3, 3)


def test_merging_keeps_what_walking_finds() -> None:
    rng = random.Random(1)
    count = 150  # more than two words of bits
    needed = {n: set(rng.sample(range(n), min(n, rng.randrange(3)))) for n in range(count)}
    ancestry = Ancestry(needed.items())
    agree(ancestry, needed)
    merges = 0
    while merges < 60:
        a, b = sorted(rng.sample(sorted(needed), 2))
        between = {n for n in needed if a in reachable(needed, n)} & (reachable(needed, b) - {a})
        if between or b in reachable(needed, a):
            continue  # it would need itself through another
        ancestry.merge(a, b, a)
        own = (needed.pop(a) | needed.pop(b)) - {a, b}
        needed = {n: {a if other == b else other for other in others} for n, others in needed.items()}
        needed[a] = own
        merges += 1
        if merges % 10 == 0:
            agree(ancestry, needed)
