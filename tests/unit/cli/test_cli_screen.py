"""Errors become sentences and exit codes; results go to standard output, all else to standard error."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

import pytest

from tallystick.cli.loading import import_file
from tallystick.cli.screen import Screen
from tallystick.errors import CaptureError, IntegrityError, ReceiptError, ResourceError, VerificationFailed


def leave_with(error: BaseException, as_json: bool = False) -> int:
    """The exit code of a command that ends in this error."""
    with pytest.raises(SystemExit) as caught, Screen(as_json):
        raise error
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (VerificationFailed("segment 3 differs"), 1),
        (IntegrityError("bytes differ"), 1),
        (ReceiptError("no signature"), 1),
        (CaptureError("aten.foo"), 2),
        (ResourceError("the disk is full"), 2),
        (OSError(errno.EACCES, "Permission denied", "/root/x"), 2),
        (ZeroDivisionError("ours"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave_with(error) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert ("Traceback" in said.err) == (code == 3)
    assert (error.strerror if isinstance(error, OSError) else str(error)) in said.err


def test_errors_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave_with(VerificationFailed("segment 3 [differs]"), as_json=True) == 1
    said = capsys.readouterr()
    expected = {"kind": "VerificationFailed", "message": "segment 3 [differs]", "exit_code": 1}
    assert json.loads(said.out) == {"error": expected}
    assert "error: segment 3 [differs]" in said.err


def test_interruption_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), Screen() as screen:
        screen.if_interrupted = "run the same command again"
        raise KeyboardInterrupt
    assert "run the same command again" in capsys.readouterr().err


def test_an_error_in_the_users_file_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "their_job.py"
    path.write_text("def job():\n    return 1 / 0\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = import_file(path)
    with pytest.raises(SystemExit) as caught, Screen():
        module.job()
    assert caught.value.code == 2
    assert "their_job.py line 2 in job: ZeroDivisionError: division by zero" in capsys.readouterr().err


def test_success_shows_a_document_or_text(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(as_json=True) as screen:
        screen.note("working")
        screen.show({"loss": 0.5}, "not shown")
    said = capsys.readouterr()
    assert json.loads(said.out) == {"loss": 0.5}
    assert said.err == "working\n"
    with Screen() as screen:
        screen.show({"loss": 0.5}, "shown")
    assert capsys.readouterr().out == "shown\n"


def test_a_nan_is_not_json() -> None:
    """Standard JSON has no NaN; a reader in another language would stop at it."""
    with pytest.raises(SystemExit) as caught, Screen(as_json=True) as screen:
        screen.show({"loss": float("nan")})
    assert caught.value.code == 3
