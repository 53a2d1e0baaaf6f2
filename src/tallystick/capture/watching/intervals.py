"""Between which numbers the elements of a tensor lie, as far as the operators that made it say.

Only what indices and random choices are made of is looked at: integers, truth values, and numbers drawn between 0 and
1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from tallystick.capture.watching.interval_rules import RULES, Interval, Number, joined, name_of
from tallystick.capture.watching.ledger import Ledger, Made, Real, Ref, on_values

DEEPEST = 200  # operators in a row that are looked at


class Intervals:
    """The intervals of one ledger, found when they are asked for.

    ``given`` are those of inputs: contents to (low, high), or to a function that finds them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.given: dict[int, tuple[int, Callable[[], tuple[Number, Number] | None]]] = {}
        self._found: dict[int, Interval | None] = {}
        self._depth = 0

    def of(self, item: Any, depth: int = 0) -> Interval | None:
        """Of a tensor or a number among encoded arguments; None if nothing is known."""
        if isinstance(item, Ref):
            return self._of_content(item.content, depth)
        if isinstance(item, Real):
            number = float.fromhex(item.text)
            return None if math.isnan(number) else Interval(number, number)
        if type(item) is int:
            return Interval(item, item)
        if type(item) is tuple and len(item) == 1:  # a truth value
            number = int(item == ("true",))
            return Interval(number, number)
        return None

    def of_content(self, content: int) -> Interval | None:
        return self._of_content(content, 0)

    def give(self, content: int, interval: Interval | None) -> None:
        """Set the interval of an input."""
        pair = None if interval is None else (interval.low, interval.high)
        self.given[content] = (0 if interval is None else interval.inputs, lambda: pair)

    def clear(self) -> None:
        """Forget what was found, because what is given changes."""
        self._found.clear()

    def _of_content(self, content: int, depth: int) -> Interval | None:
        if content in self._found:
            return self._found[content]
        if depth > DEEPEST:
            return None
        self._found[content] = None
        self._found[content] = found = self._looked_up(content, depth)
        return found

    def _looked_up(self, content: int, depth: int) -> Interval | None:
        if content in self.given:
            bits, find = self.given[content]
            pair = find()
            return None if pair is None else Interval(*pair, bits)
        made = self.ledger.made[content]
        if content in self.ledger.values or (made is not None and not self.ledger.depends[content]):
            return self._of_constant(content, made)
        if made is None:
            return None
        name = name_of(made)
        outer, self._depth = self._depth, depth + 1
        try:
            if made.result is None:
                return self._written(made, name)
            rule = RULES.get(name)
            return None if rule is None else rule(self, made)
        finally:
            self._depth = outer

    def _of_constant(self, content: int, made: Made | None) -> Interval | None:
        value = None
        if made is not None:
            value = self.ledger.value(Ref(content, made.size, made.stride, made.offset, made.dtype), 0)
        elif content in self.ledger.values:
            value = self.ledger.values[content]
        if not isinstance(value, torch.Tensor) or not value.numel() or value.is_complex():
            return None
        with on_values():
            low, high = value.min().item(), value.max().item()
        return None if math.isnan(low) or math.isnan(high) else Interval(low, high)

    def _written(self, made: Made, name: str) -> Interval | None:
        """Of memory that was written: what was there, or what came there."""
        before = self.of(made.args[made.place], self._depth)
        rule = RULES.get(name.removesuffix("_"))
        if before is None or rule is None:
            return None
        return joined([before, rule(self, made)])

    def below(self, item: Any) -> Interval | None:
        """Of an argument of the operator that is being looked at."""
        return self.of(item, self._depth)
