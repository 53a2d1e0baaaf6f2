"""Numbers and tables as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text


def duration(seconds: float) -> str:
    """A time for people: 75.3 -> "1:15"."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def elapsed(seconds: float) -> str:
    """How long something took: 3.14 -> "3.1 s", 75.3 -> "1:15"."""
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def sparkline(values: list[float], width: int = 40) -> str:
    """A curve as a row of blocks, each the mean of its stretch; empty for fewer than two finite values."""
    finite = [value for value in values if value == value and abs(value) != float("inf")]
    if len(finite) < 2:
        return ""
    width = min(width, len(finite))
    stretches = [finite[i * len(finite) // width : (i + 1) * len(finite) // width] for i in range(width)]
    means = [sum(stretch) / len(stretch) for stretch in stretches]
    low, high = min(means), max(means)
    blocks = "▁▂▃▄▅▆▇█"
    return "".join(blocks[round((mean - low) / (high - low) * 7) if high > low else 0] for mean in means)


def facts_table(facts: Mapping[str, str]) -> Table:
    """Names on the left, what is known about them on the right."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        table.add_row(name, Text(fact))
    return table
