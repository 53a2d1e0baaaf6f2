"""Whether one run starts where another ended.

Usually the two states are one, and so are their roots. Where a training run goes on, its records are longer: then every
slot is compared, and a record must begin with that of the earlier run, and be 0 behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tallystick.commitment import bits_of
from tallystick.job.checks import Checked
from tallystick.job.locating import first_difference, readable
from tallystick.job.manifest import RECORDS, SlotFact
from tallystick.job.states import aligned
from tallystick.spec.tensors import DType


def gap_between(earlier: Checked, later: Checked) -> str | None:
    """What is wrong, in words; None if the later run starts where the earlier one ended."""
    if earlier.receipt.boundary_roots[-1] == later.receipt.boundary_roots[0]:
        return None
    ended, begun = stored(earlier, len(earlier.receipt.roots)), stored(later, 0)
    mine, theirs = later.receipt.manifest.state, earlier.receipt.manifest.state
    if [fact.name for fact in mine] != [fact.name for fact in theirs]:
        return "their states have other slots"
    if ended is None or begun is None:
        return "their roots differ, and a state that could tell why is missing or damaged"
    for slots in zip(theirs, mine, ended, begun, strict=True):
        problem = Slot(*slots).problem(later.receipt.manifest.steps)
        if problem is not None:
            return problem
    return None


def stored(checked: Checked, boundary: int) -> Sequence[np.ndarray] | None:
    """An intact state."""
    found = checked.states.get(boundary)
    return None if found is None or found.state is None or found.damage is not None else aligned(found.state)


@dataclass(frozen=True)
class Slot:
    """A slot at the end of one run and at the start of the next."""

    earlier: SlotFact
    later: SlotFact
    ended: np.ndarray
    begun: np.ndarray

    def problem(self, steps: int) -> str | None:
        """What is wrong with it, if the later run takes so many steps."""
        if self.grows(steps):
            return self.record_problem()
        if self.earlier != self.later:
            return f"{self.later.name} has another type or shape"
        difference = first_difference(0, self.later.type, self.begun, self.ended)
        if difference is None:
            return None
        return self.told(difference.element, difference.claimed, difference.true, "and was")

    def grows(self, steps: int) -> bool:
        """Whether it is a record with one element more for every step of the later run."""
        known = self.later.name.startswith(RECORDS) and self.earlier.dtype == self.later.dtype == "f32"
        return known and len(self.earlier.shape) == 1 and self.later.shape == (self.earlier.shape[0] + steps,)

    def record_problem(self) -> str | None:
        known = self.earlier.shape[0]
        claimed = bits_of(self.later.type, self.begun)
        true = np.zeros_like(claimed)
        true[:known] = bits_of(self.earlier.type, self.ended)
        wrong = np.flatnonzero(claimed != true)
        if not wrong.size:
            return None
        at = int(wrong[0])
        words = "and was" if at < known else "before it was recorded, instead of"
        return self.told((at,), int(claimed[at]), int(true[at]), words)

    def told(self, element: tuple[int, ...], claimed: int, true: int, words: str) -> str:
        dtype = DType[self.later.dtype.upper()]
        return f"{self.later.name}{list(element)} is {readable(dtype, claimed)} {words} {readable(dtype, true)}"
