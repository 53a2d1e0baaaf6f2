"""A step that is not the same when it runs again: what of it changes outside of tensors, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tallystick.capture.reach.world import Change, World, drawn_from
from tallystick.capture.tracing.remedies import setting_for
from tallystick.capture.watching.ledger import Ref
from tallystick.capture.watching.watch import Watch
from tallystick.errors import CaptureError


def require_no_draws(
    before: Mapping[str, Any], first: Mapping[str, Any], second: Mapping[str, Any], world: World
) -> None:
    """Raises: CaptureError if the step draws from generators of Python or NumPy that it has not seeded itself."""
    drawn = drawn_from(dict(before), dict(first), dict(second))
    if drawn:
        raise CaptureError(
            f"the step draws random numbers from {drawn[0]}, which only happens while it is captured: every step would "
            "use the same ones. Draw with torch.rand, torch.randn or torch.randint inside the loss, or put the numbers "
            f"into the data{_setting(world)}"
        )


def _setting(world: World) -> str:
    """The setting of a library that draws, if one is reached that is switched on."""
    configurations = [holder.owner for holder in world.found.holders if holder.kind == "items"]
    if any(one.get("apply_spec_augment") is True for one in configurations):
        return setting_for("apply_spec_augment")
    return ""


def require_no_counters(changes: Sequence[Change]) -> None:
    """Raises: CaptureError if every run of the step leaves other numbers behind."""
    counted = [change for change in changes if change.counts]
    if counted and counted[0].is_iterator:
        raise CaptureError(
            f"the step takes the next element of {counted[0].path}, which happens only while it is captured: all steps "
            "would use the same one. Put the elements into the data, one row for each step or example, and make the "
            "iterator anew: it has been moved on and cannot be put back"
        )
    if counted and not counted[0].is_number:
        raise CaptureError(
            f"the step changes {counted[0].text()} every time it runs, and Python runs only while it is captured. "
            "Keep in buffers and parameters what is to change, and leave other objects as they were at the end of a "
            "step; what is kept to look at later is a metric of the job"
        )
    if counted:
        raise CaptureError(
            f"the step changes {counted[0].text()} every time it runs, and Python runs only while it is captured. "
            "Make it a buffer that counts in the program: self.register_buffer('count', torch.zeros((), "
            "dtype=torch.int64)) and self.count += 1; numbers to look at later are metrics of the job"
        )


def require_equal(expected: Sequence[Ref], found: Sequence[Ref], watch: Watch, changes: Sequence[Change]) -> None:
    """Raises: CaptureError if the second run computed something else than the first."""
    if list(expected) == list(found):
        return
    kept = next((change for change in changes if change.is_tensor), None)
    where = f"{watch.different}\n  " if watch.different else ""
    if kept is not None:
        raise CaptureError(
            f"{where}the step sets {kept.path} to a tensor and uses it in the next step, where only buffers and "
            "parameters are carried on: make it a buffer, self.register_buffer(...), of a module that the model or "
            "the loss holds"
        )
    raise CaptureError(
        f"{where}computes something else when the step runs a second time. It depends on something that changes "
        "outside of PyTorch: random numbers of another library, a clock, a counter, a file, an iterator. Draw with "
        "torch.rand inside the loss; keep what changes in buffers; put what is read into the data"
    )
