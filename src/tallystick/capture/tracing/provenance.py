"""Which line of the user's code an operator comes from.

A dispatch mode stands above the tracer while the user's code runs. For every operator that reaches it, it finds the
innermost frame that is neither PyTorch's, nor Tallystick's, nor the standard library's, and writes that line onto the
nodes the tracer makes. Operators of the backward pass run in autograd's own engine, where no frame of the user is on
the stack: they take the line under which their autograd node was made, found by the node's sequence number.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch._ops import OpOverload
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from tallystick.capture.tracing.dependence import explain
from tallystick.errors import CaptureError

if TYPE_CHECKING:
    from tallystick.capture.watching.watch import Watch

SOURCE = "source"  # the key of a node's ``meta`` under which its line stands
BACKWARD = "backward of "
_TEXT_LIMIT = 100  # characters of a source line that are shown
_PACKAGE = str(Path(__file__).parents[2]) + os.sep
_TORCH = str(Path(torch.__file__).parent) + os.sep
_STANDARD = str(Path(sysconfig.get_path("stdlib"))) + os.sep
_DATA_DEPENDENT = frozenset({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape})
_SITE = ("site-packages", "dist-packages")


class SourceRecorder(TorchDispatchMode):
    """Writes ``meta["source"]`` onto every node traced while it is active.

    ``outermost`` is the code of our functions that call the user's: frames outside of them are not looked at.
    ``watch``, if there is one, is shown every operator.
    """

    def __init__(self, *outermost: CodeType, watch: Watch | None = None) -> None:
        super().__init__()
        self._outermost = outermost
        self._watch = watch
        self._section: str | None = None
        self._line_of_sequence: dict[int, str] = {}

    @contextlib.contextmanager
    def section(self, source: str) -> Iterator[None]:
        """Give every operator inside one fixed source, for code that is ours and not the user's."""
        before, self._section = self._section, source
        try:
            yield
        finally:
            self._section = before

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        proxy_mode = get_proxy_mode()
        if proxy_mode is None:  # the second run, which is not recorded
            return self._run(func, args, kwargs or {}, self._source)
        source = self._source()
        graph = proxy_mode.tracer.graph
        last = next(iter(reversed(graph.nodes)), None)
        # Where a package stands between, errors say which line of the user's led to it.
        result = self._run(func, args, kwargs or {}, lambda: f"{source}{reached_from(sys._getframe(1))}")
        for node in reversed(graph.nodes):
            if node is last:
                break
            node.meta[SOURCE] = source
        return result

    def _run(self, func: OpOverload, args: tuple, kwargs: dict[str, Any], line: Callable[[], str]) -> Any:
        if self._watch is not None:
            return self._watch.run(func, args, kwargs, line, ours=self._section is not None)
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            if _DATA_DEPENDENT.isdisjoint(func.tags):
                raise
            raise CaptureError(f"{line()}\n  {explain(func)}") from error

    def _source(self) -> str:
        if self._section is not None:
            return self._section
        frame = user_frame(sys._getframe(1), self._outermost)
        autograd_node = torch._C._current_autograd_node()
        if autograd_node is not None:
            # Gradients that the user wrote, and checkpoints that run the forward pass again, have lines of their own.
            line = self._line_of_sequence.get(autograd_node._sequence_nr(), "the loss")
            return BACKWARD + line if frame is None else describe_frame(frame)
        line = describe_frame(frame)
        # Autograd numbers its node just before the operator arrives here, so the last number given out is this
        # operator's; operators without a gradient see an older number, whose line must stay.
        # pyright: ignore below: there is no public name for what every node of a traced graph is stamped with.
        following = torch.autograd._get_sequence_nr()  # pyright: ignore[reportPrivateImportUsage]
        self._line_of_sequence.setdefault(following - 1, line)
        return line


@contextlib.contextmanager
def section(source: str) -> Iterator[None]:
    """Give every operator inside one source, for code of ours, if it is being traced for a program."""
    modes = _get_current_dispatch_mode_stack()
    recorder = next((mode for mode in modes if isinstance(mode, SourceRecorder)), None)
    with contextlib.nullcontext() if recorder is None else recorder.section(source):
        yield


def user_frame(frame: FrameType | None, outermost: Collection[CodeType] = ()) -> FrameType | None:
    """The innermost frame of the user's code, looking outwards from ``frame`` and no further than ``outermost``."""
    while frame is not None and frame.f_code not in outermost:
        if is_user_file(frame.f_code.co_filename):
            return frame
        frame = frame.f_back
    return None


def user_line_of(traceback: TracebackType | None) -> str | None:
    """The innermost line of the user's code that an exception came through, or None.

    Where that is in an installed package, the line outside of packages that led there is said, too.
    """
    found, own = None, None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if is_user_file(code.co_filename):
            found = _describe(code, traceback.tb_lineno)
            own = own if is_installed(code.co_filename) else found
        traceback = traceback.tb_next
    return found if found is None or own in (None, found) else f"{found}\n  reached from {own}"


def reached_from(frame: FrameType | None) -> str:
    """The innermost line outside of installed packages, on a line of its own; empty if no package is in between."""
    first = user_frame(frame)
    while frame is not None and (is_installed(frame.f_code.co_filename) or not is_user_file(frame.f_code.co_filename)):
        frame = frame.f_back
    return "" if frame is None or frame is first else f"\n  reached from {describe_frame(frame)}"


def here() -> str:
    """`` at digits.py:31 forward: ...`` for the user's line that is being traced; empty outside of user code."""
    frame = user_frame(sys._getframe(1))
    return "" if frame is None else f" at {describe_frame(frame)}"


def describe_frame(frame: FrameType | None) -> str:
    """``model.py:31 forward: x = self.conv1(x)`` for a frame, or "the training step" where there is none."""
    return "the training step" if frame is None else _describe(frame.f_code, frame.f_lineno)


def _describe(code: CodeType, line: int) -> str:
    # The file's name without its folder: a program's text is the same whoever's machine captures it.
    text = linecache.getline(code.co_filename, line).strip()
    place = f"{Path(code.co_filename).name}:{line} {code.co_name}"
    return f"{place}: {text[:_TEXT_LIMIT]}" if text else place


def is_user_file(filename: str) -> bool:
    """Whether a source file is the user's: not PyTorch's, ours, or the standard library's."""
    if filename.startswith(("<frozen", "<string>", "<eval")) or filename.startswith((_TORCH, _PACKAGE)):
        return False
    return not filename.startswith(_STANDARD) or is_installed(filename)


def is_installed(filename: str) -> bool:
    """Whether a source file belongs to an installed package."""
    return any(part in filename for part in _SITE)
