"""The page of measured figures, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Row = dict[str, Any]
Result = dict[str, Any]  # of one part: rows, machine, command, date, seconds

STEP_COLUMNS = {
    "case": "model",
    "parameters": "parameters",
    "ours_ms": "ms",
    "eager": "eager ms",
    "ratio": "to eager",
    "bar": "bar",
    "compiled_ms": "compiled ms",
    "to_compiled": "to compiled",
    "goal": "goal",
}


def page(results: Sequence[Result], figure: str | None) -> str:
    """The whole page. ``figure`` is the scaling plot's place as the page sees it, None without one."""
    sections: dict[str, list[Result]] = {}
    for result in results:
        sections.setdefault(result["section"], []).append(result)
    made = [HEAD, under_what(results)]
    for name, (title, text, body) in SECTIONS.items():
        if name in sections:
            made.append(f"## {title}\n\n{text}\n\n{body(sections[name])}")
            if name == "scaling" and figure:
                made.append(f"![Step time and memory against parameters, sequence length and batch]({figure})")
            made.append(commands(sections[name]))
    return "\n\n".join(made) + "\n"


HEAD = """# Performance

<!-- Made by `python benchmarks/report`: change the benchmarks, not this page. -->

Ratios are to PyTorch in the same run, on the same threads, slices of both sides in turn, medians: **below 1 Tallystick
is faster**. `python benchmarks/report --out runs/benchmarks` measures everything again on your machine and rewrites
this page; `make bench` prints the tables alone. These are figures of one machine on one day: timings never gate
tests."""


def under_what(results: Sequence[Result]) -> str:
    """Machine, versions, days."""
    machine: dict[str, Any] = {}
    for result in results:
        machine = machine or result["machine"]
    words = [f"{key} {value}" for key, value in machine.items()]
    days = sorted({result["date"] for result in results})
    return f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))}: {', '.join(words)}." if days else ""


def commands(results: Iterable[Result]) -> str:
    """How the figures above were made."""
    lines = dict.fromkeys(f"{' '.join(result['command'])}  # {result['seconds']} s" for result in results)
    return "```sh\n" + "\n".join(lines) + "\n```"  # not a console: tests type what those show


# SECTIONS
def steps(results: Sequence[Result]) -> str:
    rows = [{**row, "eager": min(row["eager_ms"], row["eager_fused_ms"])} for row in all_rows(results)]
    for row in rows:
        row["ratio"] = judged(row["ratio"], row["bar"])
        if isinstance(row.get("to_compiled"), float):
            row["to_compiled"] = judged(row["to_compiled"], row["goal"])
    return table([{title: row.get(key) for key, title in STEP_COLUMNS.items()} for row in rows])


def judged(ratio: float, bar: float) -> str:
    """A ratio, bold where it is within its bar."""
    return f"**{ratio:.2f}**" if ratio <= bar else f"{ratio:.2f}"


def contractions(results: Sequence[Result]) -> str:
    made = []
    for result in results:
        threads = result["command"][result["command"].index("--threads") + 1]
        by_threads: dict[Any, list[Row]] = {}
        for row in result["rows"]:
            by_threads.setdefault(row.get("threads", threads), []).append(row)
        made += [_sweep(str(number), rows) for number, rows in by_threads.items()]
    worst = sorted((row for row in all_rows(results) if "ratio" in row), key=lambda row: -row["ratio"])[:10]
    return f"{table(made)}\n\nThe ten that are slowest beside PyTorch's:\n\n{table(worst)}"


def _sweep(threads: str, rows: Sequence[Row]) -> Row:
    ratios = [float(row["ratio"]) for row in rows if row.get("ratio")]
    return {
        "threads": threads,
        "cases": len(ratios),
        "geometric mean": judged(statistics.geometric_mean(ratios), 1.0) if ratios else "",
        "bar": 1.0,
        "worst": judged(max(ratios), 1.5) if ratios else "",
        "bar of the worst": 1.5,
        "faster than PyTorch": sum(ratio < 1 for ratio in ratios),
    }


def plain(results: Sequence[Result]) -> str:
    return table(all_rows(results))


Body = Callable[[Sequence[Result]], str]
SECTIONS: dict[str, tuple[str, str, Body]] = {
    "steps": (
        "Training steps",
        "Fetch a batch, forward, backward, clip the gradient norm, AdamW. *Eager* is the faster of PyTorch's default "
        "and its fused AdamW; *compiled* is `torch.compile` over the whole loss with its default settings. Bold ratios "
        "are within their bar (to eager) or goal (to compiled).",
        steps,
    ),
    "contractions": (
        "Matrix products and convolutions",
        "Each alone in a program, against the operators of PyTorch (MKL, oneDNN) that do the same.",
        contractions,
    ),
    "decoding": ("Token-by-token decoding", "One token of every row with a cache of keys and values as state.", plain),
    "compile-time": (
        "Before the first step",
        "Capture makes a program of a PyTorch model; code is generated once per program and machine, then read back.",
        plain,
    ),
    "memory": ("Memory", "What training takes, beside PyTorch.", plain),
    "hashing": ("Hashing", "What committing to states costs.", plain),
    "scaling": (
        "Scaling",
        "A GPT in three sweeps: parameters at 512 tokens a step, sequence length at 2,048 tokens a step, and batch "
        "(rows of 128 tokens). The peer is eager PyTorch with its fused AdamW; memory is the growth of each side's "
        "process.",
        plain,
    ),
}


# TABLES
def all_rows(results: Iterable[Result]) -> list[Row]:
    return [row for result in results for row in result["rows"]]


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown; columns in the order in which they first appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
