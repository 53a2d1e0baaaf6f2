"""What was measured, on which machine, with which versions, as a table or as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import llvmlite.binding as llvm
import torch

from tallystick.engine.target import Target, host_cpu

Row = Mapping[str, Any]


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(threads: int) -> dict[str, Any]:
    """Where and with what."""
    return {
        "cpu": host_cpu()[0],
        "instructions": Target.host().isa,
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "llvm": ".".join(str(number) for number in llvm.llvm_version_info),
    }


def say(words: str) -> None:
    """Progress, on standard error: standard output has results only."""
    print(words, file=sys.stderr, flush=True)


def show(rows: Sequence[Row], threads: int, as_json: bool, note: str = "") -> None:
    """The results: JSON with the machine, or a table under it."""
    if as_json:
        print(json.dumps({"machine": machine(threads), "rows": list(rows)}, indent=1))
        return
    print(", ".join(f"{key} {value}" for key, value in machine(threads).items()))
    print(f"{note}\n")
    print(table(rows))


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown; columns in the order in which they first appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = [
        "| "
        + " | ".join(
            cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|")
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
