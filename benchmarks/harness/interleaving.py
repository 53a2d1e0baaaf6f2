"""Timing several ways to do the same in turn, so that all of them see the same weather."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

SLICE_S = 0.4  # length of one timed slice
WARM_UP = 2  # steps

Advance = Callable[[int], object]


def time_per_step(advance: Advance, steps: int) -> float:
    start = time.perf_counter()
    advance(steps)
    return (time.perf_counter() - start) / steps


def interleaved(runs: Mapping[str, Advance], repeats: int) -> dict[str, float]:
    """Median milliseconds per step of each run, over as many slices."""
    steps = {}
    for name, advance in runs.items():
        advance(WARM_UP)
        steps[name] = max(1, round(SLICE_S / time_per_step(advance, WARM_UP)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, advance in runs.items():
            times[name].append(time_per_step(advance, steps[name]))
    return {name: statistics.median(slices) * 1e3 for name, slices in times.items()}
