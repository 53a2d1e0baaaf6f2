"""Which checks a program needs after all: what neither the data nor an invariant of the state makes superfluous."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from tallystick.capture.inputs import Role
from tallystick.capture.watching.checks import Check, range_text
from tallystick.capture.watching.interval_rules import Interval, joined, name_of
from tallystick.capture.watching.ledger import Items, Ref
from tallystick.capture.watching.watch import Watch, is_outside
from tallystick.errors import CaptureError

ROUNDS = 6  # of widening the ranges of a state
MOST_STEPS = 4096  # whose indices are computed from the data when a job is captured
MOST_INDICES = 1 << 24
# These take elements of their first argument, and perhaps convert integers.
_SELECTING = frozenset({"clone", "index_select", "_to_copy", "contiguous", "index", "gather", "flip", "roll", "repeat"})
# These take elements of several arguments, at these places; numbers count, too.
_CHOOSING = {"constant_pad_nd": (0, 2), "where": (1, 2), "masked_fill": (0, 2), "cat": (0,), "stack": (0,)}


class Allowed(NamedTuple):
    """Which numbers an index may be."""

    low: int
    high: int
    ignored: int | None

    def refuses(self, value: torch.Tensor) -> bool:
        return bool(is_outside(value, self.low, self.high, self.ignored).any())


def settle(watch: Watch) -> list[Check]:
    """The checks that stay. Raises: CaptureError for an index that the data, or its range, say to be outside."""
    _find_ranges_of_state(watch)
    return [check for check in watch.checks if check.ref is None or not _is_proved(watch, check)]


def _find_ranges_of_state(watch: Watch) -> None:
    """Widen the ranges that integers of the state have at the start until a step leads from them into them."""
    declared = {*watch.around.ranges, *watch.around.within}
    names = {made.name for made in watch.around.inputs if made.role is Role.STATE and made.name not in declared}
    contents = {name: watch.contents[name] for name in names if name in watch.after}
    intervals = watch.intervals
    for name in names - contents.keys():  # nobody knows what becomes of them
        intervals.give(watch.contents[name], None)
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
    allowed = Allowed(*check.within)
    found = watch.intervals.of(check.ref)
    if found is not None and allowed.low <= found.low and found.high < allowed.high:
        return True
    _refuse_ranges(watch, check, allowed)
    if _consists_of(watch, check.ref, allowed):
        return True
    return _is_inside_in_every_step(watch, check)


def _refuse_ranges(watch: Watch, check: Check, allowed: Allowed) -> None:
    """Raises: CaptureError for an index that is one of the inputs whose range is known, and goes too far."""
    names = {content: name for name, content in watch.contents.items() if name in watch.around.ranges}
    content = check.ref.content if check.ref is not None else -1
    while content not in names:
        made = watch.ledger.made[content]
        if made is None or made.result is None or name_of(made) not in ("clone", "_to_copy", "contiguous"):
            return
        if made.dtype.is_floating_point or not isinstance(made.args[0], Ref):
            return
        content = made.args[0].content
    least, most = watch.around.ranges[names[content]]
    if allowed.refuses(torch.tensor([least, most])):
        raise CaptureError(
            f"{check.line}\n  {check.what}: {names[content]} goes from {least} to {most}. Enlarge the table, or make "
            "the sequences shorter"
        )


def _consists_of(watch: Watch, item: Any, allowed: Allowed) -> bool:
    """Whether an index has no other elements than some of the data, and constants, and all of these are allowed."""
    if isinstance(item, Items):
        return all(_consists_of(watch, part, allowed) for part in item.items)
    if not isinstance(item, Ref):
        found = watch.intervals.of(item)
        return found is not None and not allowed.refuses(torch.tensor([int(found.low), int(found.high)]))
    name = next((name for name, content in watch.contents.items() if content == item.content), None)
    if name is not None:
        return _is_allowed_input(watch, name, allowed)
    made = watch.ledger.made[item.content]
    if made is None or made.result is None or made.dtype.is_floating_point:
        return False
    if not watch.ledger.depends[item.content]:
        value = watch.ledger.value(item, 0)
        return value is not None and not allowed.refuses(value)
    if name_of(made) in _SELECTING:
        return _consists_of(watch, made.args[0], allowed)
    places = _CHOOSING.get(name_of(made))
    if places is None or len(made.args) <= max(places):
        return False
    return all(_consists_of(watch, made.args[place], allowed) for place in places)


def _is_allowed_input(watch: Watch, name: str, allowed: Allowed) -> bool:
    made = next(made for made in watch.around.inputs if made.name == name)
    if made.array is None or made.role is not Role.CONSTANT or made.array.dtype.kind not in "iub":
        return False
    array = made.array if made.array.flags.writeable else made.array.copy()
    return not allowed.refuses(torch.from_numpy(array))


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
                f"{check.line}\n  {check.what}: in step {number} it is {found}{_where(watch, ref, found)}. Allowed is "
                f"{range_text(low, high)}{'' if ignored is None else f', or {ignored}, which is ignored'}"
            )
    return True


def _where(watch: Watch, ref: Ref, number: int) -> str:
    """The first place that holds a number in the data that an index depends on."""
    depends = watch.ledger.depends[ref.content]
    for bit, made in enumerate(watch.around.inputs):
        if not depends >> bit & 1 or not made.name.startswith("data.") or made.array is None:
            continue
        places = (made.array == number).nonzero()
        if len(places[0]):
            at = ", ".join(str(int(axis[0])) for axis in places)
            return f" ({made.name}[{at}] is, for one)"
    return ""
