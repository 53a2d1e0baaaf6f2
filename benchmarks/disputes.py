"""What disputes cost in gas, transactions and players' time, and how many parts a move should reveal.

    python benchmarks/disputes.py [--no-gpt]

Every transaction is played on the embedded chain, from the approval of the bonds to the verdict. Time is the players',
over the real program of the GPT example on this machine; it does not hold running the job up to the disputed step.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from gas import gpt as gpt_bill
from gas.bills import Bill
from gas.figures import FAST, GPT_LIES, large_dispute
from tallystick.dispute import Played
from tallystick.spec.referee import Terms

FANOUTS = (8, 16, 32, 64)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Numbers with separators, in columns."""
    cells = [list(head), *([f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for number, row in enumerate(cells):
        first, *rest = row
        print(
            f"| {first:<{widths[0]}} | " + " | ".join(f"{c:>{w}}" for c, w in zip(rest, widths[1:], strict=True)) + " |"
        )
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print()


def figures() -> None:
    """All sections of the snapshot that take seconds."""
    for section, measure in FAST.items():
        if section != "disputes":
            table((section, "gas"), list(measure().items()))


def fanouts(disputes: dict[str, dict[int, Bill]]) -> None:
    """Whole disputes by how many parts a move reveals."""
    rows = [
        (name, fanout, bill.transactions, bill.gas, bill.gas // bill.transactions)
        for name, bills in disputes.items()
        for fanout, bill in bills.items()
    ]
    table(("whole dispute", "parts", "transactions", "gas", "gas a transaction"), rows)


def seconds(lie: str, played: Played) -> None:
    """How long the players thought about each move."""
    rows = [(type(turn.move).__name__, turn.side.name.lower(), f"{turn.computed_s:.3f} s") for turn in played.turns]
    table((f"GPT, {lie}", "who", "computed"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-gpt", action="store_true", help="leave the GPT example out, which takes a minute")
    options = parser.parse_args()
    figures()
    disputes = {"2^20 steps, 10^8 words": {parts: large_dispute(Terms(fanout=parts)) for parts in FANOUTS}}
    if not options.no_gpt:
        for lie in GPT_LIES:
            began = time.perf_counter()
            disputes[f"GPT, {lie}"] = bills = {}
            for parts in FANOUTS:
                bills[parts], played = gpt_bill.dispute(lie, Terms(fanout=parts))
                if parts == Terms().fanout:
                    seconds(lie, played)
            print(f"({time.perf_counter() - began:.0f} s)\n")
    fanouts(disputes)


if __name__ == "__main__":
    main()
