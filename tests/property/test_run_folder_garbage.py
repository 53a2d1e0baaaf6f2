"""Whatever happens to the files of a run folder: it is noticed, named, and never a crash."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from job_helpers import tiny_job, tree
from tallystick.errors import ProtocolError, ReceiptError, UsageError
from tallystick.job import Job, Run, verify
from tallystick.job.documents import pretty
from tallystick.job.receipt import parse_receipt

IGNORED = ("journal", ".lock")  # not covered by the receipt: they only help to resume
SETTINGS = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_job(steps=20, segment_steps=8).run(tmp_path_factory.mktemp("honest") / "run").folder


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(folder).items() if name not in IGNORED}


def names_of(error_or_report) -> str:
    """Everything that was said."""
    if isinstance(error_or_report, Exception):
        return str(error_or_report)
    return " ".join(finding.message + finding.file for finding in error_or_report.findings)


def outcome(folder: Path):
    """A report, or the error of the two kinds that may escape."""
    try:
        return verify(folder, full=True)
    except (ProtocolError, UsageError) as error:
        return error


class Damaged:
    """A file of the folder with other content for a while."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self.data = path, data

    def __enter__(self) -> None:
        self.whole = self.path.read_bytes()
        self.path.write_bytes(self.data)

    def __exit__(self, *error) -> None:
        self.path.write_bytes(self.whole)


@SETTINGS
@given(data=st.data())
def test_every_flipped_bit_is_found_and_its_file_named(folder: Path, files: dict[str, bytes], data) -> None:
    name = data.draw(st.sampled_from(sorted(files)))
    at = data.draw(st.integers(0, len(files[name]) - 1))
    bit = data.draw(st.integers(0, 7))
    content = bytearray(files[name])
    content[at] ^= 1 << bit
    with Damaged(folder / name, bytes(content)):
        found = outcome(folder)
        assert isinstance(found, ReceiptError if isinstance(found, Exception) else object)
        assert isinstance(found, Exception) or not found.ok
        assert Path(name).name in names_of(found)


@SETTINGS
@given(data=st.data(), garbage=st.binary(max_size=60))
def test_garbage_and_cuts_are_found_and_never_crash(folder: Path, files: dict[str, bytes], data, garbage) -> None:
    name = data.draw(st.sampled_from(sorted(files)))
    start = data.draw(st.integers(0, len(files[name])))
    end = data.draw(st.integers(start, len(files[name])))
    content = files[name][:start] + garbage + files[name][end:]
    with Damaged(folder / name, content):
        found = outcome(folder)
        same = content == files[name]
        assert (not isinstance(found, Exception) and found.ok) == same
        assert same or Path(name).name in names_of(found)
        for use in (lambda: Job.open(folder), lambda: Run.open(folder).weights()):
            with suppress(ProtocolError, UsageError):
                use()


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_garbage_is_no_receipt(data: bytes) -> None:
    with pytest.raises(ReceiptError):
        parse_receipt(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200)
@given(data=st.data(), value=JSON)
def test_any_other_value_in_any_place_of_a_receipt_is_refused_or_noticed(files: dict[str, bytes], data, value) -> None:
    document = json.loads(files["receipt.json"])
    container, key = document, data.draw(st.sampled_from(sorted(document)))
    while isinstance(container[key], dict | list) and container[key] and data.draw(st.booleans()):
        container = container[key]
        keys = sorted(container) if isinstance(container, dict) else list(range(len(container)))
        key = data.draw(st.sampled_from(keys))
    unchanged = type(container[key]) is type(value) and container[key] == value
    container[key] = value
    try:
        receipt = parse_receipt((pretty(document) + "\n").encode())
    except ReceiptError:
        return
    assert unchanged or receipt.problems()
