"""The reference page of operators: written from the results file and the explanations, and only so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operators.explanations import EXPLANATIONS
from operators.results import Results, Tally, load
from operators.verdicts import ABSOLUTE, NO_WORSE, RELATIVE

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "operators.md"
RULES = ("lowered", "decomposed", "drawn", "refused")
TEXT = 160  # characters of a message that are shown

HEAD = """# Operators

What a program can be captured from, and how it was tried. This page is generated: `PYTHONPATH=tests python -m
operators.write` runs every operator that PyTorch lists for its own tests on PyTorch's own samples, forwards and
backwards, and writes it ({torch}, samples in float32, for operators of integers in int64).

**{percent:.1f} % of the samples pass: {passed} of {tried}**, forwards {forward} and backwards {backward}, for the
{claimed} operators that capture claims. An operator is claimed as soon as one of its samples is not refused; then all
of them count. {refused} operators are refused entirely, with a message. {untried} have nothing to try: {empty} samples
have a tensor without elements, which no program can hold, {random} draw random numbers (a program draws its own, from
its seed and step), and {nothing} make no tensor or are errors in PyTorch too.

A sample passes if every result, and every gradient for a fixed incoming gradient, is PyTorch's: integers and booleans
exactly, NaN and infinities in the same places, floats within {relative:g} of the value plus {absolute:g}, which is what
PyTorch's own tests ask of two devices in float32, for both sides round and sums run in different orders. Where an
operator loses more digits than that, both sides are compared with PyTorch in float64, and the program may be off by
{worse:g} times the largest error of PyTorch's own float32. The programs run in the spec interpreter if they are small
and in the engine if not, which agree bit for bit.
"""


def written(results: Results) -> str:
    """The whole page."""
    entries = results.operators
    claimed = {name: entry for name, entry in entries.items() if entry.is_claimed}
    refused = {name: entry for name, entry in entries.items() if entry.forward.tried and not entry.is_claimed}
    forward = [sum(getattr(entry.forward, what) for entry in claimed.values()) for what in ("passed", "tried")]
    backward = [sum(getattr(entry.backward, what) for entry in claimed.values()) for what in ("passed", "tried")]
    passed, tried = forward[0] + backward[0], forward[1] + backward[1]
    head = HEAD.format(
        torch=f"PyTorch {results.torch.split('+')[0]}",
        percent=100 * passed / tried,
        passed=passed,
        tried=tried,
        forward=f"{forward[0]} of {forward[1]}",
        backward=f"{backward[0]} of {backward[1]}",
        claimed=len(claimed),
        refused=len(refused),
        untried=len(entries) - len(claimed) - len(refused),
        empty=sum(entry.empty for entry in entries.values()),
        random=sum(entry.random for entry in entries.values()),
        nothing=sum(entry.nothing for entry in entries.values()),
        relative=RELATIVE,
        absolute=ABSOLUTE,
        worse=NO_WORSE,
    )
    return "\n".join([head, *falling_short(claimed), *aten(results.overloads), *samples(claimed), *refusals(refused)])


def falling_short(claimed: dict[str, Tally]) -> list[str]:
    lines = ["## What falls short", "", "| operator | forwards | backwards | why |", "|---|---|---|---|"]
    for name, entry in claimed.items():
        if entry.falls_short:
            why = EXPLANATIONS.get(name, "")
            lines.append(f"| `{name}` | {share(entry.forward)} | {share(entry.backward)} | {why} |")
    return [*lines, ""]


def share(direction: Any) -> str:
    return f"{direction.passed} of {direction.tried}" if direction.tried else ""


def aten(overloads: dict[str, dict[str, Any]]) -> list[str]:
    """What becomes of each operator that a trace can hold."""
    counts = {rule: sum(o["is"] == rule for o in overloads.values()) for rule in RULES}
    lines = [
        "## Operators of ATen",
        "",
        "What PyTorch records. *Lowered* operators become kernels themselves, and many of those are fused with others; "
        "*decomposed* ones are written out in terms of others first; *drawn* ones take numbers of the program's own "
        "generator, in a training step or a program; *refused* ones are an error that names the line. "
        "Kernels are those of the operator alone, on the first sample that reaches it; none means that it only "
        "re-indexes, or is part of other kernels. The list has PyTorch's core operators, those that capture has a rule "
        "for, and those that samples reach: " + ", ".join(f"{counts[rule]} {rule}" for rule in RULES) + ".",
        "",
        "| operator | is | kernels | in terms of, or message |",
        "|---|---|---|---|",
    ]
    for name, found in sorted(overloads.items()):
        parts = ", ".join(f"`{part}`" for part in found.get("into", [])) or escaped(found.get("message", ""))
        kernels = found.get("kernels", "" if found["sampled"] else "no sample")
        lines.append(f"| `{name.removeprefix('aten::')}` | {found['is']} | {kernels} | {parts} |")
    return [*lines, ""]


def samples(claimed: dict[str, Tally]) -> list[str]:
    lines = ["## Samples", "", "| operator of PyTorch | forwards | backwards |", "|---|---|---|"]
    lines += [f"| `{name}` | {share(entry.forward)} | {share(entry.backward)} |" for name, entry in claimed.items()]
    return [*lines, ""]


def refusals(refused: dict[str, Tally]) -> list[str]:
    lines = ["## Refused", "", "| operator of PyTorch | message |", "|---|---|"]
    lines += [f"| `{name}` | {escaped(entry.forward.messages[0])} |" for name, entry in refused.items()]
    return [*lines, ""]


def escaped(message: str) -> str:
    cut = message if len(message) <= TEXT else message[:TEXT].rsplit(" ", 1)[0] + " ..."
    return cut.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def current() -> str:
    """The page as the committed results make it."""
    return written(load())
