"""The reference page of elementary functions: its table is written by the sweep, and only by it."""

from __future__ import annotations

import math
from pathlib import Path

import mpmath
import numpy as np

from exhaustive.evaluation import apply
from exhaustive.functions import FUNCTIONS, Function
from exhaustive.measure import Figures

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "elementary.md"
START = "<!-- table written by make exhaustive -->\n"
END = "<!-- end of table -->\n"
COLUMNS = (
    "function",
    "largest error, ulp",
    "at",
    "nearest float",
    "never decreases",
    "inputs",
    "instructions",
    "÷ √",
    "code",
)
HEADER = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|\n"


def exact_error(function: Function, words: tuple[int, ...]) -> float:
    """The error in ulps at one input, against mpmath with 200 bits."""
    if not words:
        return 0.5  # always the nearest float
    operands = [np.array([word], np.uint32) for word in words]
    result = float(apply(function, *operands).view(np.float32)[0])
    with mpmath.workprec(200):
        exact = function.exact(*(mpmath.mpf(float(operand.view(np.float32)[0])) for operand in operands))
        exponent = max(int(mpmath.floor(mpmath.log(abs(exact), 2))), -126)
        return float(abs(mpmath.mpf(result) - exact) / mpmath.mpf(2) ** (exponent - 23))


def row(function: Function, figures: Figures) -> str:
    """The line of the table about one function."""
    operands = np.array(figures.worst_at, np.uint32).view(np.float32)
    error = f"{exact_error(function, figures.worst_at):.3f}"
    if np.isfinite(function.huge):
        error += f" ({figures.worst_huge:.3f} from 2^{math.log2(function.huge):g} on)"
    cells = (
        f"`{function.name}`",
        error,
        ", ".join(f"{operand:.9g}" for operand in operands),
        f"{100 * rounded_share(figures):.2f} %",
        "yes" if function.monotone else "",
        "all" if figures.inputs == 1 << 32 else f"2^{figures.inputs.bit_length() - 1} pairs",
        str(function.instructions),
        str(function.divisions or ""),
        f"`{function.fingerprint}`",
    )
    return "| " + " | ".join(cells) + " |\n"


def rounded_share(figures: Figures) -> float:
    """The share of results, NaN left out, that are the float nearest to the exact value (rounded down to a digit)."""
    return np.floor(1e4 * figures.rounded / figures.numbers) / 1e4


def rows(page: str) -> dict[str, str]:
    """The lines of the table in a page, by function."""
    lines = page[page.index(START) + len(START) : page.index(END)].splitlines(keepends=True)
    return {line.split("`")[1]: line for line in lines if line.startswith("| `")}


def update(path: Path, function: Function, figures: Figures) -> None:
    """Put one function's line into the table of a page."""
    page = path.read_text("utf-8")
    lines = rows(page) | {function.name: row(function, figures)}
    table = HEADER + "".join(lines[name] for name in FUNCTIONS if name in lines)
    path.write_text(page[: page.index(START) + len(START)] + table + page[page.index(END) :], "utf-8")
