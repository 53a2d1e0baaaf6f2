"""The sweeps as one figure: step times above, memory below, a column per sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

NEUTRAL = "#808890"  # readable on white and on dark pages
SIDES = {"ours": ("Tallystick", "#1a9988", "o", "-"), "torch": ("PyTorch", "#e07b39", "s", "--")}
TITLES = {
    "parameters": "parameters (512 tokens a step)",
    "sequence": "sequence length (2,048 tokens a step)",
    "batch": "batch (rows of 128 tokens)",
}
QUANTITIES = {"ms": "ms per step", "mib": "MiB of memory"}


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw what was measured into a file, on no background."""
    sweeps = [name for name in TITLES if any(row["sweep"] == name for row in rows)]
    if not sweeps:
        return
    with mpl.rc_context({"svg.hashsalt": "tallystick", "font.size": 9, "text.color": NEUTRAL}):
        figure = Figure(figsize=(9, 5), layout="constrained")
        axes = figure.subplots(2, len(sweeps), squeeze=False)
        for column, sweep in enumerate(sweeps):
            points = sorted((row for row in rows if row["sweep"] == sweep), key=lambda row: row["number"])
            for line, (unit, label) in enumerate(QUANTITIES.items()):
                axis = axes[line][column]
                for side, (name, color, marker, style) in SIDES.items():
                    known = [(row["number"], row[f"{side}_{unit}"]) for row in points if row[f"{side}_{unit}"]]
                    numbers, values = [number for number, _ in known], [value for _, value in known]
                    axis.plot(numbers, values, color=color, marker=marker, ls=style, label=name, ms=4)
                _dress(axis, [row["number"] for row in points])
                axis.set_ylabel(label if column == 0 else "", color=NEUTRAL)
            axes[1][column].set_xlabel(TITLES[sweep], color=NEUTRAL)
        axes[0][0].legend(frameon=False, labelcolor=NEUTRAL)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, transparent=True, metadata={"Date": None} if path.suffix == ".svg" else None)


def _dress(axis: Any, numbers: Sequence[int]) -> None:
    """Logarithmic axes with a tick at every point, in a colour that can be read on any page."""
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(numbers, [_short(number) for number in numbers])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.tick_params(colors=NEUTRAL, which="both")
    axis.grid(color=NEUTRAL, alpha=0.25, linewidth=0.5)
    for spine in axis.spines.values():
        spine.set_color(NEUTRAL)


def _short(number: float) -> str:
    return f"{number / 1e6:.3g} M" if number >= 1e5 else f"{number:,.4g}"
