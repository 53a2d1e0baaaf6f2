"""What disputes cost is what gas.json says, and no more than was promised: see FORMAT.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evm.arithmetic import Arithmetic
from gas.figures import FAST, GPT_LIES, SLOW, Figures, candidate, executed
from gas.worst import DEAREST, gas_of, gas_of_dearest_case, scene
from tallystick.spec.instructions import SOURCES, Op

SNAPSHOT: dict[str, Figures] = json.loads((Path(__file__).parent / "gas.json").read_text())
REWRITE = "look at the difference, and if it is meant: python tests/replay/write_gas.py"

CASES = 20_000  # of operands for every instruction
LARGE = "2**20 steps, 10**8 words, 4096 products"
BARS = {
    ("typical leaves", "ffma"): 300_000,
    ("disputes", f"{LARGE}: gas"): 5_000_000,
    ("disputes", f"{LARGE}: transactions"): 40,
    **{("disputes of the GPT job", f"GPT, {lie}: gas"): 3_000_000 for lie in GPT_LIES},
    **{("worst leaves", name): 8_000_000 for name in SNAPSHOT["worst leaves"]},
}


def agree(section: str, measured: Figures) -> None:
    changed = {
        name: f"{SNAPSHOT[section].get(name)} -> {measured.get(name)}"
        for name in {**SNAPSHOT[section], **measured}
        if SNAPSHOT[section].get(name) != measured.get(name)
    }
    assert not changed, f"{section}: {changed}. {REWRITE} {section!r}"


@pytest.mark.parametrize("section", FAST)
def test_figures(section: str) -> None:
    agree(section, FAST[section]())


@pytest.mark.slow
@pytest.mark.parametrize("section", SLOW)
def test_figures_that_take_long(section: str) -> None:
    agree(section, SLOW[section]())


def test_worst_leaf() -> None:
    """The dearest of all candidates; the others take long."""
    figures = SNAPSHOT["worst leaves"]
    name = max(figures, key=lambda name: figures[name])
    measured = executed(scene(candidate(name)))
    assert measured == figures[name], f"{figures[name]} -> {measured}. {REWRITE} 'worst leaves'"


@pytest.mark.slow
def test_no_instruction_is_dearer() -> None:
    """What the worst leaves are made of is the worst that can be found."""
    contract = Arithmetic()
    worst = gas_of(contract, DEAREST[0])
    computing = [op for op in Op if op not in SOURCES]
    dearer = {op.name: gas for op in computing if (gas := gas_of_dearest_case(contract, op, CASES)) > worst}
    assert not dearer, f"more than {worst}: {dearer}. Take these operands into tests/gas/worst.py"


@pytest.mark.parametrize(("section", "name"), BARS)
def test_bars(section: str, name: str) -> None:
    assert SNAPSHOT[section][name] <= BARS[section, name], "more than was promised"
