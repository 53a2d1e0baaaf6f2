"""Bars, times and curves as text."""

from __future__ import annotations

import io
from math import inf, nan

import pytest
from rich.console import Console

from tallystick.cli import progress
from tallystick.cli.progress import Bar
from tallystick.cli.words import duration, elapsed, sparkline


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (75.3, "1:15"), (3600, "1:00:00"), (86399, "23:59:59")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_elapsed() -> None:
    assert [elapsed(seconds) for seconds in (0.04, 3.14, 59.9, 60, 75.3)] == [
        "0.0 s",
        "3.1 s",
        "59.9 s",
        "1:00",
        "1:15",
    ]


def test_sparkline_falls_with_the_loss() -> None:
    assert sparkline([8.0, 7, 6, 5, 4, 3, 2, 1], 8) == "█▇▆▅▄▃▂▁"
    assert sparkline([1.0] * 5, 3) == "▁▁▁"
    assert sparkline([float(i) for i in range(1000)], 10) == "▁▂▃▃▄▅▆▆▇█"


def test_sparkline_without_a_curve_is_empty() -> None:
    assert sparkline([]) == sparkline([1.0]) == sparkline([nan, inf, 2.0]) == ""


def test_a_log_gets_lines_and_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    text = io.StringIO()
    with Bar(Console(file=text, force_terminal=False)) as bar:
        bar.update("train", 0, 100)
        bar.update("train", 50, 100, "loss 0.5000")
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("train  0/100")
    assert lines[-1].startswith("train  50/100  loss 0.5000")
    assert "\x1b" not in text.getvalue()


def test_a_terminal_shows_speed_and_time_left() -> None:
    bar = Bar(Console(file=io.StringIO(), force_terminal=True, width=120))
    with bar:
        bar.update("train", 100, 300)
        bar.started -= 10
        bar.update("train", 200, 300, "loss 0.5")
        assert bar.summary(bar.started + 10) == "loss 0.5 · 10.0 steps/s · 0:10 left"
