"""Python branches on the values of tensors that only check them: ``if bad: raise``, ``assert good``.

A program runs the same kernels whatever the values are, so Python must not choose by them. Where one way of a branch
does nothing but raise, the step takes the other way, and the program notes the first step in which it should not have.
"""

from __future__ import annotations

import ast
import dis
import linecache
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FrameType

import torch


@dataclass(frozen=True)
class Assumption:
    """The truth value that leads past a check. ``harmless``: the other way only writes a message or a warning."""

    value: bool
    harmless: bool


def assumption(frame: FrameType) -> Assumption | None:
    """What a truth value that this frame asks for right now must be, if it is a check; else None."""
    tree = _parsed(frame.f_code.co_filename)
    if tree is None or _is_caught(frame):
        return None
    place = _place(frame)
    for node in ast.walk(tree):
        if isinstance(node, (ast.If, ast.Assert)) and (_covers(node.test, place) or _is_at(node, place)):
            value = True if isinstance(node, ast.Assert) else _way_past(node)
            if value is None:
                continue
            polarity = _polarity(node.test, frame, place)
            if polarity is None:
                continue
            harmless = isinstance(node, ast.If) and not _raises(node.body) and not _raises(node.orelse)
            return Assumption(value == polarity, harmless)
    return None


def _is_caught(frame: FrameType | None) -> bool:
    """Whether what is raised here would be handled on the way out of the user's code, and so choose another way."""
    while frame is not None and not frame.f_code.co_filename.startswith(_STEPS):
        tree, line = _parsed(frame.f_code.co_filename), frame.f_lineno
        tries = [node for node in ast.walk(tree) if isinstance(node, ast.Try)] if tree is not None else []
        if any(_handles(node) for node in tries if _stands_in(node, line)):
            return True
        frame = frame.f_back
    return False


def _stands_in(node: ast.Try, line: int) -> bool:
    return node.body[0].lineno <= line <= (node.body[-1].end_lineno or 0)


def _handles(node: ast.Try) -> bool:
    """Whether an exception may end here, instead of being raised on."""
    return any(not isinstance(handler.body[-1], ast.Raise) for handler in node.handlers)


Place = tuple[int, int, int, int]  # first line, first column, last line, last column


def _place(frame: FrameType) -> Place:
    """Where the expression that is being evaluated stands."""
    positions = list(frame.f_code.co_positions())
    line, last, column, end = positions[frame.f_lasti // 2]
    line = line or frame.f_lineno
    return line, -1 if column is None else column, last or line, 1 << 30 if end is None else end


@lru_cache(maxsize=64)
def _parsed(filename: str) -> ast.Module | None:
    source = "".join(linecache.getlines(filename))
    if not source:
        return None
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def _covers(node: ast.expr, place: Place) -> bool:
    start = (node.lineno, node.col_offset)
    end = (node.end_lineno or node.lineno, 1 << 30 if node.end_col_offset is None else node.end_col_offset)
    known = place[1] >= 0
    return start <= (place[0], place[1] if known else start[1]) and (place[2], place[3] if known else end[1]) <= end


def _way_past(branch: ast.If) -> bool | None:
    """The value of the test with which a branch does not raise or warn; None if both ways do something."""
    if _only_checks(branch.body):
        return False
    if branch.orelse and _only_checks(branch.orelse):
        return True
    return None


def _raises(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Raise)


def _only_checks(body: list[ast.stmt]) -> bool:
    """Whether statements end in a raise, or do nothing but write messages."""
    *before, last = body
    if isinstance(last, ast.Raise):
        return all(isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Expr)) for statement in before)
    return all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Call) and _tells(s.value.func) for s in body)


def _tells(function: ast.expr) -> bool:
    """Whether a call writes a message: warnings.warn, logger.warning, warning_once, print."""
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("print", "warn", "warning", "warning_once", "warn_once", "info", "debug", "error")


def _polarity(test: ast.expr, frame: FrameType, place: Place) -> bool | None:
    """True if the test is as its part that is asked for, False if it is the opposite; None if it is neither."""
    parts = list(_parts(test, True))
    found = [parity for part, parity in parts if _is_at(part, place)]
    found = found or [parity for part, parity in parts if _covers(part, place)]
    if not found:
        number = _which(frame, place, len(parts))
        found = [] if number is None else [parts[number][1]]
    return found[0] if len(set(found)) == 1 else None


def _which(frame: FrameType, place: Place, parts: int) -> int | None:
    """Which part of a test is asked for, where Python says only in which statement it is: a jump belongs to each."""
    jumps = [
        instruction.offset
        for instruction in dis.get_instructions(frame.f_code)
        if "JUMP" in instruction.opname and "IF" in instruction.opname and tuple(_known(instruction.positions)) == place
    ]
    if frame.f_lasti not in jumps or len(jumps) % parts:
        return None
    return jumps.index(frame.f_lasti) % parts


def _known(positions: dis.Positions | None) -> Place | tuple[()]:
    if positions is None or None in positions:
        return ()
    return positions.lineno or 0, positions.col_offset or 0, positions.end_lineno or 0, positions.end_col_offset or 0


def _parts(test: ast.expr, parity: bool) -> Iterator[tuple[ast.expr, bool]]:
    """The expressions whose truth a test asks for, and whether the test is as they are."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from _parts(test.operand, not parity)
    elif isinstance(test, ast.BoolOp):
        for value in test.values:
            yield from _parts(value, parity)
    elif isinstance(test, ast.Call) and getattr(test.func, "id", "") == "bool" and len(test.args) == 1:
        yield from _parts(test.args[0], parity)
    else:
        yield test, parity


def _is_at(node: ast.expr | ast.stmt, place: Place) -> bool:
    return (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset) == place


def asking_frame() -> FrameType | None:
    """The frame of Python code that asks for a value right now: the innermost that is not part of the machinery."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_MACHINERY):
        frame = frame.f_back
    return frame


def _machinery() -> tuple[str, ...]:
    package, root = Path(__file__).parents[2], Path(torch.__file__).parent
    parts = (
        "_ops.py",
        "overrides.py",
        "_tensor.py",
        "utils/_python_dispatch.py",
        "utils/_stats.py",
        "_subclasses",
        "_compile.py",
        "_dynamo",
        "fx",
    )
    return (str(package), *(str(root / part) for part in parts))


_MACHINERY = _machinery()
_STEPS = str(Path(__file__).parents[1] / "steps")  # where the user's code is called
