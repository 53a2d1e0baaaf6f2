"""The end of a run: the model file and the signed receipt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from tallystick.errors import ProtocolError
from tallystick.job.folder import RunFolder
from tallystick.job.journal import Entry
from tallystick.job.model_file import ModelFile
from tallystick.job.receipt import Facts, FileFact, Files, Receipt, load_receipt
from tallystick.job.signing import SigningKey
from tallystick.job.sources import one_line
from tallystick.store import read_file, write_file

if TYPE_CHECKING:
    from tallystick.job.job import Job


def finish(
    job: Job,
    folder: RunFolder,
    final: Sequence[np.ndarray],
    entries: Sequence[Entry],
    facts: dict[str, Any],
    key: SigningKey,
) -> None:
    """Write the model, then the receipt that binds everything. Raises: ResourceError, JobError."""
    files = Files(
        manifest=FileFact.of(job.manifest.text().encode()),
        program=fact_of(folder, "program"),
        sources=fact_of(folder, "sources"),
        model=write_model(job, folder, final),
    )
    receipt = Receipt.sign(key, job.manifest, [entry.root for entry in entries], files, make_facts(entries, facts))
    write_file(folder.receipt, [receipt.text().encode()])


def fact_of(folder: RunFolder, name: str) -> FileFact:
    """Size and hash of a file this run has written."""
    path = getattr(folder, name)
    return FileFact.of(read_file(path, 1 << 32))


def write_model(job: Job, folder: RunFolder, final: Sequence[np.ndarray]) -> FileFact | None:
    """Store the weights, trained and frozen, if the program trains a model."""
    model = ModelFile.of(job.manifest)
    if not model.slots:
        return None
    digest = sha256()

    def pieces() -> Iterator[bytes | memoryview]:
        for piece in model.pieces([*final, *job.captured.constants]):
            digest.update(piece)
            yield piece

    write_file(folder.model, pieces())
    return FileFact(bytes=model.nbytes, sha256=digest.hexdigest())


def make_facts(entries: Sequence[Entry], facts: dict[str, Any]) -> Facts:
    """Timing and machine facts; the times of an interrupted run add up over its parts."""
    machine = {one_line(str(name))[:100]: as_fact(value) for name, value in facts["machine"].items()}
    return Facts(
        started=facts["started"],
        finished=facts["finished"],
        run_ms=sum(entry.run_ms for entry in entries),
        hash_ms=sum(entry.hash_ms for entry in entries),
        write_ms=sum(entry.write_ms for entry in entries),
        segment_ms=tuple(entry.run_ms for entry in entries),
        peak_memory_bytes=facts["peak_memory_bytes"],
        package=f"tallystick {version('tallystick')}",
        machine=machine,
    )


def as_fact(value: Any) -> str | int:
    """A number as it is, everything else as a short text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return one_line(str(value))[:400] or "-"


def is_finished(job: Job, folder: RunFolder, entries: Sequence[Entry]) -> bool:
    """Whether the folder holds a sound receipt of exactly this run, and its model."""
    try:
        receipt = load_receipt(folder.receipt)
    except ProtocolError:
        return False
    same = receipt.manifest == job.manifest and receipt.roots == tuple(entry.root.hex() for entry in entries)
    if not same or receipt.problems():
        return False
    model = receipt.files.model
    return model is None or (folder.model.is_file() and folder.model.stat().st_size == model.bytes)
