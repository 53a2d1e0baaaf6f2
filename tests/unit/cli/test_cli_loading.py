"""``file.py:name``: what is found, and what is said when it is not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tallystick.cli.loading import (
    import_file,
    keyword_arguments,
    load_function,
    load_job,
    load_object,
    read_as,
    split_reference,
)
from tallystick.errors import JobError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a user's file; what importing it changes in ``sys`` is undone."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write_file(text: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    yield write_file
    for name in set(sys.modules) - before:
        if name.startswith("tally_user_"):
            del sys.modules[name]


@pytest.mark.parametrize("reference", ["job", "examples/digits.py", "mine.py:", ":job", "mine.py:not a name"])
def test_incomplete_references_show_the_form(reference: str) -> None:
    with pytest.raises(JobError, match=r"write FILE\.py:NAME"):
        split_reference(reference)


def test_missing_file_suggests_a_near_one(write: Write) -> None:
    path = write("")
    with pytest.raises(JobError, match=r"did you mean .*mine\.py\?"):
        split_reference(f"{path.parent}/mime.py:job")


def test_missing_file_says_where_it_looked() -> None:
    with pytest.raises(JobError, match="looked in /"):
        split_reference("/nowhere/at_all.py:job")


def test_only_python_files(write: Write) -> None:
    with pytest.raises(JobError, match="not a Python file"):
        split_reference(f"{write('', 'receipt.json')}:job")


def test_missing_name_suggests_a_near_one(write: Write) -> None:
    path = write("def jobb():\n    pass\n")
    with pytest.raises(JobError, match=r"defines no 'job'; did you mean .*mine\.py:jobb\?"):
        load_object(f"{path}:job")


def test_file_is_imported_once_and_sees_its_neighbours(write: Write) -> None:
    write("value = 7\n", "neighbour_of_mine.py")
    path = write("import neighbour_of_mine\nvalue = neighbour_of_mine.value\n")
    assert load_object(f"{path}:value") == 7
    assert import_file(path) is import_file(path)


def test_a_failed_import_leaves_nothing_behind(write: Write) -> None:
    path = write("raise RuntimeError('first')\n")
    with pytest.raises(RuntimeError, match="first"):
        import_file(path)
    path.write_text("value = 1\n" + "# padding so that the size differs from before\n")
    assert import_file(path).value == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("job = 3", "is an int; give a tallystick.TrainingJob"),
        ("job = None", "is None; give"),
        ("class job: pass", "is the class job; give"),
        ("def job(): return 3", "returned an int, not a tallystick.TrainingJob"),
        ("def job(): pass", "returned None"),
        ("def job(size): pass", r"needs arguments \(size\)"),
    ],
)
def test_what_is_not_a_job_is_named(write: Write, text: str, says: str) -> None:
    path = write(text + "\n")
    with pytest.raises(JobError, match=says):
        load_job(f"{path}:job")


def test_function_must_be_a_function(write: Write) -> None:
    with pytest.raises(JobError, match="is a str; give a function"):
        load_function(f"{write('predict = str(1)')}:predict")


def sample(model: object, prompt: str = "x", length: int = 10, warmth: float = 0.5, greedy: bool = False) -> None:
    """A function to pass arguments to."""


def test_arguments_take_the_type_of_their_default() -> None:
    given = ["prompt=a=b", "length=3", "warmth=1", "greedy=true"]
    assert keyword_arguments(sample, given) == {"prompt": "a=b", "length": 3, "warmth": 1.0, "greedy": True}


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("length", "write NAME=VALUE"),
        ("lenght=3", "has no argument 'lenght'; it takes prompt, length"),
        ("model=3", "has no argument 'model'"),
        ("length=3.5", "length is a whole number"),
        ("warmth=hot", "warmth is a number"),
        ("greedy=yes", "greedy=true or greedy=false"),
    ],
)
def test_wrong_arguments_say_what_fits(argument: str, says: str) -> None:
    with pytest.raises(JobError, match=says):
        keyword_arguments(sample, [argument])


def test_text_stays_text() -> None:
    assert read_as(str, "prompt", "12") == "12"
