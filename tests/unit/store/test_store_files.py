"""Files that are whole or absent, and reading what a stranger wrote."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tallystick.errors import IntegrityError, JobError, ResourceError, UsageError
from tallystick.store import Blobs, FolderLock, map_file, read_file, require_space, sweep_temporaries, write_file


def sha256(data: np.ndarray) -> bytes:
    return hashlib.sha256(data.tobytes()).digest()


def leftovers(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.endswith(".tmp")]


def test_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, [b"a long first content"])
    write_file(path, [b"sho", memoryview(b"rt")])
    assert path.read_bytes() == b"short"
    assert leftovers(tmp_path) == []


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, [b"old"])

    def pieces():
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, pieces())
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_a_killed_writer_leaves_the_old_file_and_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, [b"old"])
    program = (
        "import os, signal, sys; from pathlib import Path; from tallystick.store import write_file\n"
        "def pieces():\n"
        "    yield b'new' * 100000\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_file(Path(sys.argv[1]), pieces())\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert path.read_bytes() == b"old"
    assert len(leftovers(tmp_path)) == 1
    sweep_temporaries(tmp_path)
    assert leftovers(tmp_path) == []


def test_a_full_disk_says_so_and_keeps_the_old_file(tmp_path: Path) -> None:
    """The kernel really refuses the write: a file size limit stands in for a small disk."""
    path = tmp_path / "a"
    write_file(path, [b"old"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(ResourceError, match="disk is full"):
            write_file(path, [bytes(1 << 20)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, ResourceError, "disk is full"),
        (errno.EDQUOT, ResourceError, "disk is full"),
        (errno.EROFS, JobError, "Choose a folder you may write to"),
        (errno.EACCES, JobError, "Choose a folder you may write to"),
        (errno.EIO, JobError, "cannot write"),
    ],
)
def test_refusals_become_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[UsageError], words: str
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(kind, match=words):
        write_file(tmp_path / "a", [b"x"])
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder_is_a_job_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(JobError, match="cannot write"):
        Blobs(tmp_path / "file" / "folder").create()
    with pytest.raises(JobError, match="cannot write"):
        write_file(tmp_path / "file" / "a", [b"x"])


def test_read_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(IntegrityError, match="5 bytes, more than the 4 allowed"):
        read_file(path, 4)


def test_reading_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it plainly would wait for a writer for ever
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(IntegrityError, match="not a regular file"):
            read_file(path, 10)
    with pytest.raises(IntegrityError, match="missing"):
        read_file(tmp_path / "nothing", 10)


def test_map_file_wants_the_exact_size(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    mapped = map_file(path, 5)
    assert mapped.tobytes() == b"12345"
    assert not mapped.flags.writeable
    for nbytes in (4, 6, 0):
        with pytest.raises(IntegrityError, match=f"5 bytes where {nbytes} belong"):
            map_file(path, nbytes)
    (tmp_path / "empty").write_bytes(b"")
    assert map_file(tmp_path / "empty", 0).size == 0


def test_blobs_are_checked_before_use(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs", ".bin")
    blobs.create()
    digest = blobs.put_stream([b"some ", memoryview(b"bytes")], hashlib.sha256())
    assert digest == hashlib.sha256(b"some bytes").digest()
    assert blobs.path(digest).name == digest.hex() + ".bin"
    assert blobs.open(digest, 10, sha256).tobytes() == b"some bytes"
    with pytest.raises(IntegrityError, match="11 belong"):
        blobs.open(digest, 11, sha256)
    blobs.path(digest).write_bytes(b"some bytez")
    with pytest.raises(IntegrityError, match="content has changed"):
        blobs.open(digest, 10, sha256)
    assert blobs.open_unchecked(digest, 10).tobytes() == b"some bytez"


def test_blobs_list_only_their_own_names(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, ".bin")
    digest = bytes(range(32))
    blobs.put(digest, [b"x"])
    for name in ("notes.txt", digest.hex(), digest.hex().upper() + ".bin", digest.hex() + ".bin.bin", ".x.tmp"):
        (tmp_path / name).write_bytes(b"")
    assert blobs.digests() == {digest}
    assert digest in blobs
    blobs.remove(digest)
    blobs.remove(digest)
    assert digest not in blobs
    assert Blobs(tmp_path / "nowhere").digests() == set()


def test_one_process_per_folder(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        with pytest.raises(JobError, match="another process is working"):
            FolderLock(tmp_path).__enter__()
        program = (
            "import sys; from pathlib import Path; from tallystick.store import FolderLock\n"
            "FolderLock(Path(sys.argv[1])).__enter__()"
        )
        other = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=False)
        assert b"another process is working" in other.stderr
    with FolderLock(tmp_path):
        pass


def test_space_is_asked_for_beforehand(tmp_path: Path) -> None:
    require_space(tmp_path, 1, "this job")
    with pytest.raises(ResourceError, match=r"this job needs 1024.0 TiB .* free"):
        require_space(tmp_path, 1 << 50, "this job")
