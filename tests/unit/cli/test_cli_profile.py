"""The table of ``tally profile``."""

from __future__ import annotations

import pytest

from tallystick.cli.profile import SORTS, lines_of, row_of, summarise
from tallystick.engine.profile import KernelTime, Profile
from tallystick.engine.roofs import Roofs
from tallystick.engine.workload import Workload


def kernel(number: int, seconds: float, operations: int, kind: str = "map") -> KernelTime:
    work = Workload(operations, 2 * operations, 0, 0)
    return KernelTime(number, kind, number, (4, 5), (6,), seconds, {"pack": seconds / 4}, work)


@pytest.fixture
def found() -> Profile:
    """Steps of 10 ms on a machine that computes 2e9 instructions a second."""
    kernels = (kernel(0, 4e-3, 7_800_000), kernel(1, 3e-3, 100_000, "fold"), kernel(2, 2e-3, 8_000_000))
    return Profile(2, 5, 10e-3, 6e-4, 3e-4, 1e-4, kernels, Roofs(4e9, 1e9, 1e9, 2), 10, 20, 40)


def order(found: Profile, sort: str) -> list[int]:
    rows = [row_of(group, found) for group in found.groups(["a", "b", "c"])]
    return [row["kernels"][0] for row in sorted(rows, key=SORTS[sort])]


def test_rows_are_sorted_as_asked(found: Profile) -> None:
    assert order(found, "time") == [0, 1, 2]
    assert order(found, "lost") == [1, 0, 2]
    assert order(found, "roof") == [1, 0, 2]
    assert order(found, "gflops") == [2, 0, 1]


def test_a_row_says_how_far_from_the_roof(found: Profile) -> None:
    (row,) = [row_of(group, found) for group in found.groups(["a", "b", "c"]) if group.source == "a"]
    assert row["of_roof"] == pytest.approx(0.975)
    assert (row["bound"], row["share"], row["ms"]) == ("compute", 0.4, 4.0)
    assert row["gflops"] == pytest.approx(3.9)
    assert row["phases_ms"] == {"pack": 1.0}


def test_what_is_left_out_is_counted(found: Profile) -> None:
    rows = [row_of(group, found) for group in found.groups(["a", "b" * 300, "c"])]
    lines = list(lines_of(rows, 1))
    assert len(lines) == 3
    assert "map 4x5 over 6" in lines[1]
    assert "5.000  50.0%" in lines[2]
    assert "2 more rows" in lines[2]
    assert all(len(line) < 250 for line in lines_of(rows, 3))


def test_the_summary_adds_up(found: Profile) -> None:
    summary = summarise(found)
    parts = [*summary["kinds_ms"].values(), summary["waiting_ms"], summary["sharing_ms"], summary["copying_ms"]]
    assert sum(parts) == pytest.approx(summary["step_ms"])
    assert summary["kinds_ms"] == {"map": pytest.approx(6.0), "fold": pytest.approx(3.0)}
