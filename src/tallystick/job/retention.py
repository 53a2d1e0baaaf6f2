"""Which states of a run stay on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tallystick.errors import JobError

KeepStates = int | Literal["all"] | None

DEFAULT_BYTES = 2 << 30


@dataclass(frozen=True)
class Retention:
    """The first state, the last one and evenly spaced ones between: every ``stride``-th boundary.

    Boundary 0 is the start, boundary k + 1 the end of segment k. More states cost disk and make verifying a sample
    cheaper, because a segment is re-run from the nearest stored state before it.
    """

    segments: int
    stride: int

    @staticmethod
    def of(keep: KeepStates, segments: int, state_bytes: int) -> Retention:
        """The retention for a number of states to keep; None keeps what fits in ``DEFAULT_BYTES``.

        Raises: JobError for a number that cannot be.
        """
        if keep == "all":
            return Retention(segments, 1)
        if keep is None:
            keep = max(2, DEFAULT_BYTES // max(1, state_bytes))
        if not isinstance(keep, int) or isinstance(keep, bool) or keep < 2:
            raise JobError(
                f'keep_states={keep!r}: give "all" or a number of at least 2, because the first and the last state '
                "are always kept"
            )
        return Retention(segments, -(-segments // (keep - 1)))

    def keeps(self, boundary: int) -> bool:
        return boundary % self.stride == 0 or boundary == self.segments

    @property
    def count(self) -> int:
        """States on disk at the end of the run."""
        return -(-self.segments // self.stride) + 1

    @property
    def peak(self) -> int:
        """States on disk at the worst moment: one that will be dropped may stand beside the one that follows it."""
        return min(self.segments + 1, self.count + (self.stride > 1))

    def wanted(self, boundaries: Iterable[int]) -> list[int]:
        """Those of the boundaries reached so far that stay; the newest always does, because a run resumes from it."""
        reached = list(boundaries)
        return [boundary for boundary in reached if self.keeps(boundary) or boundary == reached[-1]]
