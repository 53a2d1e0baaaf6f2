"""Which checks a program needs after all: what neither the data nor an invariant of the state makes superfluous."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tallystick.capture.inputs import Role
from tallystick.capture.watching.checks import Check, range_text
from tallystick.capture.watching.interval_rules import Interval, joined
from tallystick.capture.watching.ledger import Ref
from tallystick.capture.watching.watch import Watch, is_outside
from tallystick.errors import CaptureError

ROUNDS = 6  # of widening the ranges of a state
MOST_STEPS = 4096  # whose indices are computed from the data when a job is captured
MOST_INDICES = 1 << 24
# These take elements of their first argument, and perhaps convert integers.
_SELECTING = frozenset({"clone", "index_select", "_to_copy", "contiguous", "index", "gather", "flip", "roll", "repeat"})


class Origin(NamedTuple):
    """The input that an index consists of elements of."""

    name: str
    content: int


def settle(watch: Watch) -> list[Check]:
    """The checks that stay. Raises: CaptureError for an index that the data, or its range, say to be outside."""
    _find_ranges_of_state(watch)
    return [check for check in watch.checks if check.ref is None or not _is_proved(watch, check)]


def _find_ranges_of_state(watch: Watch) -> None:
    """Widen the ranges that integers of the state have at the start until a step leads from them into them."""
    names = {
        made.name for made in watch.around.inputs if made.role is Role.STATE and made.name not in watch.around.ranges
    }
    contents = {name: watch.contents[name] for name in names if name in watch.after}
    intervals = watch.intervals
    for round in range(ROUNDS):
        grown = False
        intervals.clear()
        for name, content in contents.items():
            before = intervals.of_content(content)
            if before is None:
                continue
            after = intervals.of(watch.after[name])
            if after is not None and before.low <= after.low and after.high <= before.high:
                continue
            wide = None if after is None or round == ROUNDS - 1 else joined([before, after])
            intervals.give(content, wide)
            grown = True
        if not grown:
            break
    for content in contents.values():  # nothing is trusted any more: it was proved
        found = intervals.of_content(content)
        intervals.give(content, None if found is None else Interval(found.low, found.high))
    intervals.clear()


def _is_proved(watch: Watch, check: Check) -> bool:
    assert check.ref is not None and check.within is not None, "a check of an index"
    low, high, ignored = check.within
    found = watch.intervals.of(check.ref)
    if found is not None and low <= found.low and found.high < high:
        return True
    origin = _origin(watch, check.ref)
    if origin is not None and origin.name in watch.around.ranges and ignored is None:
        least, most = watch.around.ranges[origin.name]
        raise CaptureError(
            f"{check.line}\n  {check.what}: {origin.name} goes from {least} to {most}. Enlarge the table, or make the "
            "sequences shorter"
        )
    if origin is not None and not _wrong_values(watch, origin, low, high, ignored).any():
        return True
    return _is_inside_in_every_step(watch, check)


def _origin(watch: Watch, ref: Ref) -> Origin | None:
    names = {content: name for name, content in watch.contents.items()}
    content = ref.content
    while content not in names:
        made = watch.ledger.made[content]
        if made is None or made.result is None or made.func._schema.name.partition("::")[2] not in _SELECTING:
            return None
        if made.dtype.is_floating_point or not made.args or not isinstance(made.args[0], Ref):
            return None
        content = made.args[0].content
    return Origin(names[content], content)


def _wrong_values(watch: Watch, origin: Origin, low: int, high: int, ignored: int | None) -> torch.Tensor:
    made = next(made for made in watch.around.inputs if made.name == origin.name)
    if made.array is None or made.role is not Role.CONSTANT:
        return torch.ones(1, dtype=torch.bool)
    array = made.array
    if not array.flags.writeable:
        array = array.copy()
    return is_outside(torch.from_numpy(array), low, high, ignored)


def _is_inside_in_every_step(watch: Watch, check: Check) -> bool:
    """Compute an index that follows from the data for all steps, if they are few enough."""
    assert check.ref is not None and check.within is not None, "a check of an index"
    ref, (low, high, ignored) = check.ref, check.within
    steps, size = watch.around.steps, max(1, torch.Size(ref.size).numel())
    if steps is None or steps > MOST_STEPS or steps * size > MOST_INDICES:
        return False
    bit = next(number for number, made in enumerate(watch.around.inputs) if made.role is Role.STEP)
    known = (~watch.varying()) | 1 << bit
    if watch.ledger.depends[ref.content] & ~known:
        return False
    step = next(made.name for made in watch.around.inputs if made.role is Role.STEP)
    for number in range(steps):
        value = watch.ledger.value(ref, known, {watch.contents[step]: torch.tensor([number])})
        if value is None:
            return False
        wrong = is_outside(value, low, high, ignored)
        if wrong.any():
            found = int(value[wrong].flatten()[0])
            raise CaptureError(
                f"{check.line}\n  {check.what}: in step {number} it is {found}{_where(watch, found)}. Allowed is "
                f"{range_text(low, high)}{'' if ignored is None else f', or {ignored}, which is ignored'}"
            )
    return True


def _where(watch: Watch, number: int) -> str:
    """The first place in the data that holds a number."""
    for made in watch.around.inputs:
        if made.name.startswith("data.") and made.array is not None and made.array.dtype.kind in "iu":
            places = (made.array == number).nonzero()
            if len(places[0]):
                at = ", ".join(str(int(axis[0])) for axis in places)
                return f" ({made.name}[{at}] is, for one)"
    return ""
