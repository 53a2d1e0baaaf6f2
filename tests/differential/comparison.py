"""Whether two runs are the same training, as far as rounding leaves that to be seen.

How far apart two right answers may lie is measured: by runs of eager PyTorch whose weights are moved in the last
digit. Ours may lie ``FACTOR`` times as far, and ``FLOOR`` in any case. Once those runs are apart by more than
``CHAOS``, nothing can be said of the steps that follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from differential.eager import Finished

FLOOR, FACTOR, CHAOS = 2e-5, 60.0, 1e-3
MOVED = 2e-3  # the least that is allowed of the way a tensor moved


@dataclass
class Compared:
    """``differences`` say what is apart and how far. ``steps`` were compared: not all if the job is chaotic."""

    differences: list[str]
    steps: int
    worst: float


def compare(
    ours: Finished, eager: Finished, others: Sequence[Finished], names: Sequence[str], grain: float = 0.0
) -> Compared:
    """Compare losses and metrics at every step, then the state ``names``, the way it moved, and the averages.

    ``grain`` is the relative size of the last digit of what is stored narrow: rounding may fall to either side.
    """
    floor = 1e-3 if grain else FLOOR
    differences: list[str] = []
    worst, reach = 0.0, len(eager.records["loss"])
    for name, right in eager.records.items():
        between = np.max([relative(other.records[name], right) for other in others], axis=0)
        natural = np.maximum.accumulate(between)
        chaotic = np.flatnonzero(~(natural < CHAOS))
        steps = int(chaotic[0]) if len(chaotic) else len(right)
        reach = min(reach, steps)
        found = relative(ours.records[name], right)[:steps]
        allowed = np.maximum(floor, FACTOR * natural[:steps])
        worst = max(worst, float(found.max(initial=0.0)))
        for step in np.flatnonzero(~(found <= allowed))[:1]:
            differences.append(
                f"{name} of step {step} is {ours.records[name][step]:.7g}, in eager PyTorch {right[step]:.7g} "
                f"(two runs of which are {natural[step]:.1e} apart)"
            )
    if reach == len(eager.records["loss"]):
        for name in names:
            given = [other.state[name] for other in others]
            differences += apart(name, ours.state.get(name), eager.state[name], given, grain, eager.start.get(name))
        for name, right in eager.averages.items():
            given = [other.averages[name] for other in others]
            differences += apart(f"the average of {name}", ours.averages.get(name), right, given, grain, None)
    return Compared(differences, reach, worst)


def apart(
    name: str,
    mine: np.ndarray | None,
    right: np.ndarray,
    others: Sequence[np.ndarray],
    grain: float,
    start: np.ndarray | None,
) -> list[str]:
    """One line if a tensor is another: by its own size, or by the way it moved."""
    if mine is None:
        return [f"{name} is missing"]
    if mine.shape != right.shape:
        return [f"{name} has the shape {mine.shape}, in eager PyTorch {right.shape}"]
    if right.dtype.kind != "f":
        different = bool((mine != right).any()) and all((other == right).all() for other in others)
        return [f"{name} is another: {mine.ravel()[:4]}, in eager PyTorch {right.ravel()[:4]}"] if different else []
    mine = mine.astype(np.float64)
    found, natural = distance(mine, right), max(distance(other, right) for other in others)
    size = largest(right)
    if not found <= max(FLOOR * size, 2 * grain * size, FACTOR * natural, 1e-7):
        return [f"{name} is {found / max(size, 1e-30):.1e} apart (two runs of eager PyTorch: {natural:.1e})"]
    moved = 0.0 if start is None or start.shape != right.shape else distance(right, start)
    if moved and not found <= max(MOVED * moved, 2 * grain * size, FACTOR * natural, 4e-7 * size):
        return [f"{name} moved by {moved:.1e} and is {found / moved:.1e} of that apart"]
    return []


def relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Differences of two curves, each by the size of the second there. NaN where one is NaN alone."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = np.maximum(np.abs(b), 1e-3 * np.nanmax(np.abs(b), initial=1e-30))
    with np.errstate(invalid="ignore"):
        return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b) / np.maximum(size, 1e-30))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference; infinite where one is NaN or infinite alone."""
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        return float(np.nan_to_num(np.where(same, 0.0, np.abs(a - b)), nan=np.inf).max(initial=0.0))


def largest(a: np.ndarray) -> float:
    return float(np.nan_to_num(np.abs(a), nan=0.0, posinf=0.0).max(initial=0.0))
