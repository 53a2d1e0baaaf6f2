"""What a verification found."""

from __future__ import annotations

from math import prod
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tallystick.errors import VerificationFailed

Kind = Literal["receipt", "file", "state", "segment"]


class Finding(BaseModel):
    """One thing that is wrong, as far as it could be located. ``message`` says all of it in words.

    ``kind``        receipt: the document does not hold together; file: a file is not the one that was signed;
                    state: a stored state was changed; segment: running a segment again gives another state
    ``file``        the file that is damaged, or whose claim is wrong
    ``segment``     counted from 0
    ``first_step``  the earliest step that can have gone wrong
    ``last_step``   the latest one: the state after it is known to be wrong
    ``slot``        name of the slot of the state, or of the constant
    ``element``     index of the first element that differs
    ``claimed``     the word that is claimed for it, in hex; ``true`` is the word that re-running gives
    ``kernel``      number of the kernel that writes the slot; ``source`` is the line of the user's code it came from
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    file: str
    message: str
    segment: int | None = None
    first_step: int | None = None
    last_step: int | None = None
    slot: str | None = None
    element: tuple[int, ...] | None = None
    claimed: str | None = None
    true: str | None = None
    kernel: int | None = None
    source: str | None = None


class VerificationReport(BaseModel):
    """The outcome of ``verify``.

    ``sampled``           the segments that were drawn; ``checked`` are all that were run again on the way
    ``miss_probability``  the chance that such a draw misses the only wrong one of all segments, here or in ``before``
    ``before``            the report about the run that this one goes on from, if it does; its findings are here, too
    """

    model_config = ConfigDict(frozen=True)

    receipt: str
    name: str
    worker: str
    manifest_id: str
    steps: int
    segments: int
    sampled: tuple[int, ...]
    checked: tuple[int, ...]
    miss_probability: float
    findings: tuple[Finding, ...]
    seconds: float
    before: VerificationReport | None = None

    @property
    def runs(self) -> list[VerificationReport]:
        """This run's report, and those of the runs it goes on from."""
        return [self, *(() if self.before is None else self.before.runs)]

    @property
    def ok(self) -> bool:
        """Whether nothing wrong was found."""
        return not self.findings

    @property
    def difference(self) -> Finding | None:
        """The first finding that names an element, else the first one, else None."""
        located = (finding for finding in self.findings if finding.element is not None)
        return next(located, next(iter(self.findings), None))

    @property
    def statement(self) -> str:
        """What the check is worth, in a sentence."""
        if not self.ok:
            count = "one thing is" if len(self.findings) == 1 else f"{len(self.findings)} things are"
            return f"The receipt does not hold: {count} wrong."
        drawn, segments = sum(len(run.sampled) for run in self.runs), sum(run.segments for run in self.runs)
        of = "" if self.before is None else " of this run and of what it goes on from"
        if drawn == segments:
            return f"All {segments} segments{of} were run again: every bit is as claimed."
        three = miss_probability(3, drawn, segments)
        return (
            f"{drawn} of {segments} segments{of} were drawn and run again, and every bit of them is as claimed. A "
            f"single wrong segment is missed by such a draw with probability {'at most ' if of else ''}"
            f"{self.miss_probability:.1%}"
            + (f", three wrong ones with {three:.1%}." if segments > 3 and not of else ".")
        )

    def raise_for_failure(self) -> None:
        """Raises: VerificationFailed with the most telling finding, unless nothing is wrong."""
        if self.difference is not None:
            raise VerificationFailed(self.difference.message)


def miss_probability(wrong: int, drawn: int, segments: int) -> float:
    """The chance that ``drawn`` different segments, drawn at random, contain none of the ``wrong`` ones.

    C(segments - wrong, drawn) / C(segments, drawn), at most (1 - drawn / segments) ** wrong.
    """
    wrong = min(wrong, segments)
    return prod(max(0, segments - drawn - i) / (segments - i) for i in range(wrong))
