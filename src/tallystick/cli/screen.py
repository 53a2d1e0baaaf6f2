"""Where a command's words go: one result on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape

from tallystick.cli import exits
from tallystick.cli.extras import missing_extra
from tallystick.cli.loading import USER_FILES
from tallystick.errors import TallystickError


class QuietPipeConsole(Console):
    """A console whose reader may leave early, as in ``tally inspect ... | head``."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Screen:
    """The frame of every command: ``with Screen(json) as screen: ...; screen.show(document, table)``.

    An exception that leaves the block is told in a sentence on standard error (as JSON on standard output too, when
    that was asked for) and becomes an exit code. ``if_interrupted`` is what to tell a user who presses Ctrl-C.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = QuietPipeConsole(highlight=False)
        self.err = Console(stderr=True, highlight=False)
        self.if_interrupted = "nothing was changed"

    def note(self, text: str) -> None:
        """One line about what is going on."""
        self.err.print(escape(text), style="dim", soft_wrap=True)

    def show(self, document: Mapping[str, Any], *parts: RenderableType) -> None:
        """The command's result: as a JSON document, or for people to read."""
        if self.as_json:
            self.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
            return
        for part in parts:
            self.out.print(part, soft_wrap=isinstance(part, str))

    def write(self, text: str) -> None:
        """Plain text on standard output, as it is."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, SystemExit):
            return
        code = exits.exit_code(error)
        if code == exits.NO_READER:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(code) from None
        users_line = line_in_user_file(trace)
        if code == exits.BUG and (users_line is not None or missing_extra(error) is not None):
            code = exits.NOT_DONE
        self.tell(error, code, users_line)
        raise SystemExit(code) from None

    def tell(self, error: BaseException, code: int, users_line: str | None) -> None:
        """Say what went wrong, in words for the kind of error."""
        message = str(error)
        if code == exits.INTERRUPTED:
            self.err.print(f"[yellow]interrupted[/]: {escape(self.if_interrupted)}", soft_wrap=True)
            message = f"interrupted: {self.if_interrupted}"
        elif isinstance(error, TallystickError):
            self.err.print(f"[bold red]error[/]: {escape(message)}", soft_wrap=True)
        elif isinstance(error, OSError) and users_line is None:
            about = f"{error.filename}: " if error.filename else ""
            message = f"{about}{error.strerror or error}"
            self.err.print(f"[bold red]error[/]: {escape(message)}", soft_wrap=True)
        elif (advice := missing_extra(error)) is not None:
            message = f"{users_line}: {advice}" if users_line else advice
            self.err.print(f"[bold red]error[/]: {escape(message)}", soft_wrap=True)
        elif users_line is not None:
            message = f"{users_line}: {type(error).__name__}: {error}"
            self.err.print(f"[bold red]error[/] in your code: {escape(message)}", soft_wrap=True)
            self.note("TALLY_TRACEBACK=1 shows the whole traceback")
        else:
            message = f"{type(error).__name__}: {error}"
            self.err.print("[bold red]this is a bug in Tallystick[/]; please report it with the traceback:")
        if code == exits.BUG or os.environ.get("TALLY_TRACEBACK"):
            self.err.print(escape("".join(traceback.format_exception(error))), soft_wrap=True)
        if self.as_json:
            self.write(
                json.dumps({"error": {"kind": type(error).__name__, "message": message, "exit_code": code}}) + "\n"
            )


def line_in_user_file(trace: TracebackType | None) -> str | None:
    """The deepest line of a traceback that lies in a file imported for the user, or None."""
    lines = [frame for frame in traceback.extract_tb(trace) if frame.filename in USER_FILES]
    if not lines:
        return None
    return f"{Path(lines[-1].filename).name} line {lines[-1].lineno} in {lines[-1].name}"
