"""The files of a run folder, one by one: journal, states, model, and which states stay."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from job_helpers import flip, tiny_captured
from tallystick.commitment import HashlibHasher, StateHasher
from tallystick.errors import IntegrityError, JobError
from tallystick.job.hashing import JobHasher
from tallystick.job.journal import Entry, Journal
from tallystick.job.manifest import SlotFact
from tallystick.job.model_file import ModelFile
from tallystick.job.retention import Retention
from tallystick.job.states import DIGEST, StateFiles
from tallystick.spec.tensors import DType, TensorType
from tallystick.store import Blobs

# JOURNAL

ENTRIES = [Entry(bytes([n]) * 32, n, 10 * n, 100 * n) for n in range(5)]


def written(path: Path) -> Journal:
    journal = Journal(path / "journal")
    journal.restart([])
    for number, entry in enumerate(ENTRIES):
        journal.append(number, entry)
    return journal


def test_the_journal_gives_back_what_was_noted(tmp_path: Path) -> None:
    assert Journal(tmp_path / "journal").read() == []
    journal = written(tmp_path)
    assert journal.read() == ENTRIES
    journal.restart(ENTRIES[:2])
    assert journal.read() == ENTRIES[:2]


def test_a_torn_journal_counts_up_to_the_tear(tmp_path: Path) -> None:
    journal = written(tmp_path)
    whole = journal.path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole) + 1):
        journal.path.write_bytes(whole[:length])
        assert journal.read() == ENTRIES[: sum(end <= length for end in ends)]


@given(garbage=st.binary(max_size=200), at=st.integers(0, 400))
def test_garbage_in_the_journal_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes, at: int
) -> None:
    journal = written(tmp_path_factory.mktemp("journal"))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:at] + garbage + whole[at + len(garbage) :])
    found = journal.read()
    assert all(len(entry.root) == 32 for entry in found)
    untouched = whole[:at].count(b"\n")
    assert found[:untouched] == ENTRIES[:untouched]


# RETENTION


@given(segments=st.integers(1, 300), keep=st.integers(2, 50))
def test_retention_keeps_first_last_and_evenly_spaced(segments: int, keep: int) -> None:
    retention = Retention.of(keep, segments, 1000)
    kept = [boundary for boundary in range(segments + 1) if retention.keeps(boundary)]
    assert kept[0] == 0 and kept[-1] == segments
    assert len(kept) == retention.count <= keep
    gaps = {b - a for a, b in pairwise(kept)}
    assert len(gaps - {kept[-1] - kept[-2]}) <= 1


def test_retention_in_bytes_and_all() -> None:
    assert Retention.of(None, 100, 1 << 20).stride == 1
    assert Retention.of(None, 100, 1 << 28).count <= 8
    assert Retention.of(None, 100, 1 << 40).count == 2
    assert Retention.of("all", 100, 1 << 40).count == 101


@pytest.mark.parametrize("keep", [1, 0, -3, True, 2.5, "some", "3"])
def test_retention_refuses_what_cannot_be(keep) -> None:
    with pytest.raises(JobError, match=r'give "all" or a number of at least 2'):
        Retention.of(keep, 10, 1)


# STATES


@pytest.fixture
def stored(tmp_path: Path) -> tuple[StateFiles, bytes, list[np.ndarray]]:
    captured = tiny_captured(50)
    blobs = Blobs(tmp_path / "states", ".state")
    blobs.create()
    files = StateFiles(blobs, captured.program.states, captured.state_names, HashlibHasher())
    digests = StateHasher(captured.program, HashlibHasher()).digests(captured.state)
    return files, files.put(captured.state, digests), captured.state


def test_states_come_back_as_they_were(stored) -> None:
    files, root, state = stored
    opened = files.open(root)
    assert files.blobs.path(root).stat().st_size == files.nbytes
    for mine, theirs in zip(opened, state, strict=True):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        assert mine.tobytes() == theirs.tobytes()


def test_damage_to_a_state_is_known_to_the_slot(stored) -> None:
    """Every byte of the file, a bit each: the list of digests first, then the slots in order."""
    files, root, state = stored
    path = files.blobs.path(root)
    owners = [slot for slot in range(len(state)) for _ in range(DIGEST)]
    expected_in_list = len(owners)
    owners += [slot for slot, array in enumerate(state) for _ in range(array.nbytes)]
    assert len(owners) == files.nbytes
    for byte, slot in enumerate(owners):
        flip(path, byte, byte % 8)
        found = files.examine(root)
        assert found.damage is not None and files.names[slot] in found.damage
        assert found.slots == (() if byte < expected_in_list else (slot,))
        with pytest.raises(IntegrityError, match=files.names[slot]):
            files.open(root)
        flip(path, byte, byte % 8)
    assert files.examine(root).damage is None


def test_states_of_another_size_or_under_another_name(stored) -> None:
    files, root, _ = stored
    path = files.blobs.path(root)
    data = path.read_bytes()
    other = bytes(32)
    for content, words in ((data[:-1], "bytes where"), (data + b"\0", "bytes where"), (b"", "bytes where")):
        path.write_bytes(content)
        assert words in str(files.examine(root).damage)
    files.blobs.path(other).write_bytes(data)
    assert "does not lead to the root" in str(files.examine(other).damage)
    path.unlink()
    assert "missing" in str(files.examine(root).damage)


def test_a_nan_that_is_not_canonical_is_damage(tmp_path: Path) -> None:
    captured = tiny_captured(50)
    captured.state[1].view(np.uint32)[2] = 0x7FC00001
    blobs = Blobs(tmp_path, ".state")
    files = StateFiles(blobs, captured.program.states, captured.state_names, HashlibHasher())
    root = files.put(captured.state, StateHasher(captured.program, HashlibHasher()).digests(captured.state))
    assert "optimizer.momentum with a NaN that is not canonical" in str(files.examine(root).damage)


# MODEL

SLOTS = {
    "model.b": (DType.F32, (3, 2)),
    "optimizer.b": (DType.F32, (3, 2)),
    "model.a.weight": (DType.F32, ()),
    "model.mask": (DType.BOOL, (3,)),
    "model.é": (DType.I32, (2,)),
    "model.half": (DType.F16, (1, 5)),
    "model.bytes": (DType.U8, (1,)),
    "model.signed": (DType.I8, (2,)),
    "record.loss": (DType.F32, (9,)),
}


@pytest.fixture
def model() -> tuple[ModelFile, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    facts = [SlotFact.of(name, TensorType(*type)) for name, type in SLOTS.items()]
    numpy = {DType.F32: "f4", DType.BOOL: "?", DType.I32: "i4", DType.F16: "f2", DType.U8: "u1", DType.I8: "i1"}
    arrays = [rng.integers(0, 2, fact.shape).astype(numpy[fact.type.dtype]) for fact in facts]
    return ModelFile(facts), arrays


def test_the_model_file_is_what_safetensors_reads(model) -> None:
    file, arrays = model
    data = b"".join(bytes(piece) for piece in file.pieces(arrays))
    assert len(data) == file.nbytes
    mine = {n.removeprefix("model."): a for n, a in zip(SLOTS, arrays, strict=True) if n.startswith("model.")}
    loaded = safetensors.numpy.load(data)
    assert loaded.keys() == mine.keys()
    for name, array in mine.items():
        assert loaded[name].dtype == array.dtype and loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.tobytes()


def test_every_byte_of_a_model_file_has_its_place(model) -> None:
    file, arrays = model
    data = b"".join(bytes(piece) for piece in file.pieces(arrays))
    assert {file.place(byte) for byte in range(len(file.head))} == {None}
    for byte in range(len(file.head), len(data)):
        place = file.place(byte)
        assert place is not None
        slot, element, start = place
        size = arrays[slot].itemsize
        assert start <= byte < start + size
        assert data[start : start + size] == arrays[slot].reshape(-1)[element].tobytes()
    assert file.place(len(data)) is None


def test_bfloat16_weights_are_their_bits() -> None:
    file = ModelFile([SlotFact.of("model.w", TensorType(DType.BF16, (2,)))])
    assert b'"dtype":"BF16"' in file.head
    assert b"".join(bytes(p) for p in file.pieces([np.array([1, 2], np.uint16)])).endswith(b"\x01\x00\x02\x00")


# HASHING


def test_the_hasher_of_a_job_changes_over_without_changing_a_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.job.hashing.SWITCH", 3000)
    hasher, data = JobHasher(), np.random.default_rng(0).bytes(40_000)
    for size in (1024, 64, 1024):
        assert hasher.digests(b"\0", data, size) == HashlibHasher().digests(b"\0", data, size)
    assert type(hasher._hasher).__name__ == "VectorHasher"
