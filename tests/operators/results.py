"""What became of every operator's samples: written by ``python -m operators.write``, read by the page and the tests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from operators.trial import Kind, Outcome

RESULTS = Path(__file__).parent / "results.json"
MESSAGES = 2  # kept of one operator and direction, the most frequent ones


@dataclass
class Direction:
    """Counts of one direction, and the most frequent messages of what did not pass."""

    passed: int = 0
    refused: int = 0
    failed: int = 0
    messages: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        return self.passed + self.refused + self.failed


@dataclass
class Tally:
    """One entry of PyTorch's list. What is ``empty``, ``random`` or ``nothing`` cannot be tried forwards.

    ``most`` is how many samples were asked for.
    """

    forward: Direction = field(default_factory=Direction)
    backward: Direction = field(default_factory=Direction)
    empty: int = 0
    random: int = 0
    nothing: int = 0
    most: int = 0

    @property
    def is_claimed(self) -> bool:
        """Whether any sample is not refused: from then on every sample counts."""
        return self.forward.tried > self.forward.refused

    @property
    def falls_short(self) -> bool:
        """Whether a sample of what is claimed does not pass, one way or the other."""
        return self.is_claimed and any(d.passed < d.tried for d in (self.forward, self.backward))


def tally(outcomes: Iterable[tuple[Outcome, Outcome]], most: int = 0) -> Tally:
    """Count the outcomes of one operator, (forwards, backwards) each."""
    pairs = list(outcomes)
    counted = Tally(direction([first for first, _ in pairs]), direction([second for _, second in pairs]), most=most)
    for kind in (Kind.EMPTY, Kind.RANDOM, Kind.NOTHING):
        setattr(counted, kind.value, sum(first.kind is kind for first, _ in pairs))
    return counted


def direction(outcomes: list[Outcome]) -> Direction:
    kinds = Counter(outcome.kind for outcome in outcomes)
    messages = Counter(o.message for o in outcomes if o.kind in (Kind.REFUSED, Kind.FAILED))
    kept = [message for message, _ in messages.most_common(MESSAGES)]
    return Direction(kinds[Kind.PASSED], kinds[Kind.REFUSED], kinds[Kind.FAILED], kept)


@dataclass
class Results:
    """Everything the page is made of. ``overloads`` says of each ATen operator what capture makes of it."""

    torch: str
    operators: dict[str, Tally]
    overloads: dict[str, dict[str, Any]]


def load(path: Path = RESULTS) -> Results:
    stored = json.loads(path.read_text("utf-8"))
    operators = {
        name: Tally(Direction(**entry.pop("forward")), Direction(**entry.pop("backward")), **entry)
        for name, entry in stored["operators"].items()
    }
    return Results(stored["torch"], operators, stored["overloads"])


def save(results: Results, path: Path = RESULTS) -> None:
    """One line per operator, so that a difference between two files can be read."""
    parts = [f'{{"torch": {json.dumps(results.torch)}']
    for name in ("operators", "overloads"):
        entries: dict[str, Any] = getattr(results, name)
        lines = [
            f"{json.dumps(key)}: {json.dumps(asdict(value) if isinstance(value, Tally) else value)}"
            for key, value in sorted(entries.items())
        ]
        parts.append(f'"{name}": {{\n' + ",\n".join(lines) + "}")
    temporary = path.with_suffix(".new")
    temporary.write_text(",\n".join(parts) + "}\n", "utf-8")
    temporary.replace(path)
