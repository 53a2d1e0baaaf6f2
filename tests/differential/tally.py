"""How many jobs ended how."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from differential.trial import REFUSED, Ending


@dataclass
class Tally:
    """Counts of endings, of refusals by what they say, and what went wrong by the seed."""

    jobs: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, ending: Ending) -> None:
        self.jobs += 1
        self.endings.update(set(ending.kinds))
        if ending.kinds == [REFUSED]:
            self.refusals[kind_of(ending.details[0])] += 1
        if ending.faults:
            self.faults[name] = [*ending.faults, *ending.details]

    def lines(self) -> list[str]:
        """A table: endings, then refusals by kind, each with its share of all jobs."""
        share = lambda count: f"{count:6d}  {100 * count / max(1, self.jobs):5.1f} %"  # noqa: E731
        lines = [f"{share(count)}  {kind}" for kind, count in self.endings.most_common()]
        if self.refusals:
            lines += ["refusals:", *(f"{share(count)}  {kind}" for kind, count in self.refusals.most_common())]
        return lines

    def as_dict(self) -> dict[str, Any]:
        return {
            "jobs": self.jobs,
            "endings": dict(self.endings.most_common()),
            "refusals": dict(self.refusals.most_common()),
            "faults": self.faults,
        }


def kind_of(text: str) -> str:
    """The first words of a refusal, without names and numbers."""
    text = re.sub(r"[`'\"].*?[`'\"]", "…", text)
    text = re.sub(r"\d+", "0", text)
    return " ".join(text.split()[:9])
