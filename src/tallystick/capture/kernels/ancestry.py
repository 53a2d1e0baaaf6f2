"""Which clusters need which others, directly or not, kept up to date while clusters become one."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

WORD = 64


class Ancestry:
    """The ancestors of every cluster, a bit each; after merges there may be a few more than there really are.

    ``clusters`` are numbers with the numbers each directly needs, those it needs before it.
    """

    def __init__(self, clusters: Iterable[tuple[int, Collection[int]]]) -> None:
        listed = list(clusters)
        self._place = {number: i for i, (number, _) in enumerate(listed)}
        self._bits = np.zeros((len(listed), -(-len(listed) // WORD)), np.uint64)
        for i, (_, needed) in enumerate(listed):
            for number in needed:
                j = self._place[number]
                self._bits[i] |= self._bits[j]
                self._bits[i, j // WORD] |= _bit(j)

    def comes_before(self, number: int, other: int) -> bool:
        """Whether ``other`` needs ``number``."""
        j = self._place[number]
        return bool(self._bits[self._place[other], j // WORD] & _bit(j))

    def merge(self, a: int, b: int, merged: int) -> None:
        """Two clusters become one, which has the number of one of them."""
        places = self._place.pop(a), self._place.pop(b)
        i, j = places
        own = self._bits[i] | self._bits[j]
        later = (self._bits[:, i // WORD] & _bit(i) != 0) | (self._bits[:, j // WORD] & _bit(j) != 0)
        self._bits[later] |= own
        for place in places:
            own[place // WORD] &= ~_bit(place)
            self._bits[:, place // WORD] &= ~_bit(place)
        self._bits[later, i // WORD] |= _bit(i)
        self._bits[i] = own
        self._place[merged] = i


def _bit(place: int) -> np.uint64:
    return np.uint64(1 << place % WORD)
