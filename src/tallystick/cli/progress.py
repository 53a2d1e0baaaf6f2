"""The progress of a run or a verification: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn

from tallystick.cli.words import duration

LOG_EVERY_S = 10.0


class Bar:
    """Steps done of a total, with speed and the time left; more facts in ``facts``.

    On a terminal one moving line. Elsewhere one plain line per ``LOG_EVERY_S`` and one at the end, so that a log stays
    readable.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.label = ""
        self.total = 0
        self.first = 0
        self.done = 0
        self.facts = ""
        self.started = time.monotonic()
        self.logged = self.started
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task: TaskID | None = None

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        if not self.console.is_terminal and self.total:
            self.log()

    def update(self, label: str, done: int, total: int, facts: str = "") -> None:
        """Show how far it is. A new label or total starts a new count: its speed is measured from here on."""
        now = time.monotonic()
        if (label, total) != (self.label, self.total):
            self.label, self.total, self.first, self.started = label, total, done, now
            if self.task is not None:
                self.progress.remove_task(self.task)
            self.task = self.progress.add_task(label, total=total or None, completed=done, facts="")
        self.done, self.facts = done, facts
        assert self.task is not None, "the first update makes the task"
        self.progress.update(self.task, completed=done, facts=self.summary(now))
        if not self.console.is_terminal and now - self.logged >= LOG_EVERY_S:
            self.log()

    def note(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text, style="dim", markup=False, soft_wrap=True)

    def summary(self, now: float) -> str:
        """The facts, the speed and the time left."""
        words = [self.facts] if self.facts else []
        steps, seconds = self.done - self.first, now - self.started
        if steps > 0 and seconds > 0.5:
            words.append(f"{steps / seconds:.1f} steps/s")
            if self.total > self.done:
                words.append(f"{duration((self.total - self.done) * seconds / steps)} left")
        return " · ".join(words)

    def log(self) -> None:
        """One line for a log."""
        self.logged = time.monotonic()
        count = f"{self.done}/{self.total}" if self.total else ""
        words = [word for word in (self.label, count, self.summary(self.logged)) if word]
        self.console.print("  ".join(words), style="dim", markup=False, soft_wrap=True)
