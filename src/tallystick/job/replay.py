"""Running segments again, and naming what differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tallystick.commitment import Hasher, StateHasher
from tallystick.job.checks import Checked
from tallystick.job.folder import RunFolder
from tallystick.job.locating import Difference, differences, hexadecimal, origin_of, readable
from tallystick.job.manifest import LOSS_SLOT
from tallystick.job.progress import Reporter
from tallystick.job.report import Finding
from tallystick.job.slices import advance_in_slices
from tallystick.job.states import aligned

if TYPE_CHECKING:
    from tallystick.engine.backends import AnyEngine


def segments_to_run(boundaries: Iterable[int], intact: Iterable[int]) -> list[int]:
    """The segments that have to be run to reach boundaries, each from the nearest intact state before it."""
    starts = sorted(intact)
    needed: set[int] = set()
    for boundary in boundaries:
        before = [start for start in starts if start < boundary]
        if before:
            needed.update(range(before[-1], boundary))
    return sorted(needed)


class Replay:
    """Runs segments of a receipt whose program and constants are intact.

    ``checked`` are the segments whose end was compared; it stops after the first that is wrong.
    """

    def __init__(
        self, folder: RunFolder, found: Checked, engine: AnyEngine, reporter: Reporter, hasher: Hasher
    ) -> None:
        assert found.program is not None and found.constants is not None, "only an intact program can be run"
        self.folder = folder
        self.found = found
        self.program = found.program
        self.constants = found.constants
        self.manifest = found.receipt.manifest
        self.roots = found.receipt.boundary_roots
        self.names = [fact.name for fact in (*self.manifest.state, *self.manifest.constants)]
        self.engine = engine
        self.hasher = hasher
        self.reporter = reporter
        self.checked: list[int] = []
        self.located: set[int] = set()  # boundaries whose damage was located
        self.steps = 0

    def run(self, segments: Sequence[int]) -> None:
        """Run segments in ascending order; consecutive ones in one session."""
        session: Any = None
        try:
            for segment in segments:
                if session is None or session.step != self.manifest.boundary_step(segment):
                    if session is not None:
                        session.__exit__(None, None, None)
                    session = self.start(segment)
                if not self.check(session, segment):
                    return
        finally:
            if session is not None:
                session.__exit__(None, None, None)

    def start(self, boundary: int) -> Any:
        """A session at a boundary with an intact state."""
        state = self.found.states[boundary].state
        assert state is not None, "chains begin at intact states"
        step = self.manifest.boundary_step(boundary)
        self.state_hasher = StateHasher(self.program, self.hasher)
        return self.engine.start(aligned(state), self.constants, step=step).__enter__()

    def check(self, session: Any, segment: int) -> bool:
        """Run one segment and compare its end; False if it is wrong."""
        for steps in advance_in_slices(session, self.manifest.boundary_step(segment + 1)):
            self.steps += steps
            self.reporter.tell("verify", self.steps, segment)
        state = session.state()
        self.checked.append(segment)
        if self.state_hasher.root(state) != self.roots[segment + 1]:
            self.found.findings.append(self.wrong_segment(segment, state))
            return False
        self.locate_damage(segment + 1, state)
        return True

    # WHAT DIFFERS

    def locate_damage(self, boundary: int, true: Sequence[np.ndarray]) -> None:
        """Name the first element of a damaged state file, now that its true content is known."""
        found = self.found.states.get(boundary)
        if found is None or found.damage is None or found.state is None or not found.slots:
            return
        wrong = differences(self.program, aligned(found.state), true)
        if not wrong:
            return
        segment, path = boundary - 1, self.folder.states.path(self.roots[boundary])
        first, last = self.manifest.boundary_step(segment), self.manifest.boundary_step(boundary) - 1
        text, place = self.describe(wrong[0])
        message = (
            f"{path}: the stored state after segment {segment} (steps {first} to {last}) was changed after it was "
            f"signed: {text}; {self.count(wrong)}"
        )
        self.found.findings.append(
            Finding(
                kind="state", file=str(path), message=message, segment=segment, first_step=last, last_step=last, **place
            )
        )
        self.located.add(boundary)

    def wrong_segment(self, segment: int, true: Sequence[np.ndarray]) -> Finding:
        """Say where a claimed state differs from the one that re-running gives."""
        boundary = segment + 1
        first, last = self.manifest.boundary_step(segment), self.manifest.boundary_step(boundary) - 1
        claim = (
            f"segment {segment} (steps {first} to {last}): running it again does not give the state that the receipt "
            f"claims, {self.roots[boundary].hex()[:16]}..."
        )
        about: dict[str, Any] = {"kind": "segment", "file": str(self.folder.receipt), "segment": segment}
        stored = self.found.states.get(boundary)
        wrong = []
        if stored is not None and stored.state is not None and stored.damage is None:
            wrong = differences(self.program, aligned(stored.state), true)
        if not wrong:
            message = f"{claim}; the claimed state is not stored, so the element cannot be named"
            return Finding(**about, message=message, first_step=first, last_step=last)
        text, place = self.describe(wrong[0])
        bound, why = self.latest_step(wrong, first, last)
        message = f"{claim}: {text}; {self.count(wrong)}; {why}"
        return Finding(**about, message=message, first_step=first, last_step=bound, **place)

    def latest_step(self, wrong: Sequence[Difference], first: int, last: int) -> tuple[int, str]:
        """The step after which the claim is known to be wrong.

        Claimed states exist only at the ends of segments. A record of losses shows more: the first wrong entry was
        written from a state that was already wrong, or is the wrong entry itself.
        """
        slot = self.manifest.slot(LOSS_SLOT)
        found = next((difference for difference in wrong if difference.slot == slot), None)
        step = -1 if found is None or len(found.element) != 1 else found.element[0] - self.manifest.steps_before
        if first <= step <= last:
            return (
                step,
                f"the error lies in steps {first} to {step}: the claimed loss of step {step} is already wrong",
            )
        return last, f"the error lies in steps {first} to {last}: states are claimed only at the ends of segments"

    def describe(self, difference: Difference) -> tuple[str, dict[str, Any]]:
        """A difference in words, and as fields of a finding."""
        name = self.names[difference.slot]
        dtype = self.program.states[difference.slot].dtype
        origin = origin_of(self.program, difference.slot, self.names, self.found.sources)
        text = (
            f"{name}{list(difference.element)} is claimed to be {readable(dtype, difference.claimed)} and is "
            f"{readable(dtype, difference.true)}; it is {origin.words}"
        )
        place = {
            "slot": name,
            "element": difference.element,
            "claimed": hexadecimal(dtype, difference.claimed),
            "true": hexadecimal(dtype, difference.true),
            "kernel": origin.kernel,
            "source": origin.source,
        }
        return text, place

    def count(self, wrong: Sequence[Difference]) -> str:
        """How much differs."""
        elements = sum(difference.elements for difference in wrong)
        return (
            f"{elements} element{'s' * (elements != 1)} in {len(wrong)} of {len(self.program.states)} slots "
            f"differ{'s' * (elements == 1)}"
        )
