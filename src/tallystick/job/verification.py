"""Verifying a receipt: look at every file, then run segments again and compare bits."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tallystick.commitment import Hasher
from tallystick.errors import JobError, ReceiptError
from tallystick.job.checks import Checked, check_folder
from tallystick.job.continuity import gap_between
from tallystick.job.documents import MOST_RUNS
from tallystick.job.folder import RunFolder
from tallystick.job.hashing import JobHasher
from tallystick.job.model_check import check_model
from tallystick.job.progress import Listener, Reporter
from tallystick.job.receipt import load_receipt, receipt_path
from tallystick.job.replay import Replay, segments_to_run
from tallystick.job.report import Finding, VerificationReport, miss_probability

if TYPE_CHECKING:
    from tallystick.engine.backends import AnyEngine

LONGEST_CHAIN = MOST_RUNS


def verify(
    receipt: str | Path,
    *,
    sample: float = 0.05,
    full: bool = False,
    threads: int | None = None,
    seed: int | None = None,
    progress: Listener | None = None,
) -> VerificationReport:
    """Check a receipt and the run folder it lies in.

    The document, the signature and every file are always checked, and, if the job goes on from another, the run of that
    one in the same way. ``sample`` is the share of segments that are drawn and run again (at least one of every run),
    ``full`` runs all. Without a ``seed`` the draw comes from the operating system, so that nobody can know it in
    advance.

    Returns what was found. Raises: ReceiptError if there is no receipt that can be read; JobError if a file cannot be
    read; ResourceError if the program does not fit this machine.
    """
    if not 0 < sample <= 1:
        raise JobError(f"sample={sample}: give a share of the segments above 0 and at most 1, such as 0.05")
    report, _ = verify_chain(receipt_path(receipt), Effort(sample, full, threads, seed, progress), LONGEST_CHAIN)
    return report


@dataclass(frozen=True, slots=True)
class Effort:
    """What the caller of ``verify`` asked for."""

    sample: float
    full: bool
    threads: int | None
    seed: int | None
    progress: Listener | None


def verify_chain(path: Path, effort: Effort, most: int) -> tuple[VerificationReport, Checked]:
    """Check a receipt, and those of at most so many runs, this one included, that follow from each other.

    Returns the report, and what the folder holds.
    """
    began = time.monotonic()
    document = load_receipt(path)
    manifest, folder, hasher = document.manifest, RunFolder(path.parent), JobHasher()
    Reporter(effort.progress, manifest.steps, manifest.segments).tell("check")
    found = check_folder(folder, document, hasher)
    check_model(folder, found)
    segments = manifest.segments
    sampled = list(range(segments)) if effort.full else draw(segments, effort.sample, effort.seed)
    checked = replay(folder, found, hasher, sampled, effort.threads, effort.progress)
    before = check_before(folder, found, effort, most)
    missed = miss_probability(1, len(sampled), segments)
    report = VerificationReport(
        receipt=str(path),
        name=manifest.name,
        worker=document.worker,
        manifest_id=manifest.id.hex(),
        steps=manifest.steps,
        segments=manifest.segments,
        sampled=tuple(sampled),
        checked=tuple(checked),
        miss_probability=missed if before is None else max(missed, before.miss_probability),
        findings=tuple(found.findings),
        seconds=time.monotonic() - began,
        before=before,
    )
    return report, found


def check_before(folder: RunFolder, found: Checked, effort: Effort, most: int) -> VerificationReport | None:
    """Verify the run that this one goes on from: it must be there, and end where this one starts.

    Adds what is wrong to the findings. A run of another job says nothing about this one, so it is not looked into: a
    folder that leads back to itself ends there. None if there was nothing to verify.
    """
    manifest, findings = found.receipt.manifest, found.findings
    if manifest.after is None:
        return None
    path = folder.before / "receipt.json"

    def wrong(kind: Literal["file", "state"], message: str) -> None:
        findings.append(Finding(kind=kind, file=str(path), message=message))

    if most <= 1:
        wrong("file", f"{path} is not looked into: more than {LONGEST_CHAIN} runs go on from each other")
        return None
    try:
        before = load_receipt(path)
    except ReceiptError as error:
        wrong("file", f"this run goes on from another one, which cannot be checked: {error}")
        return None
    if before.manifest.id.hex() != manifest.after:
        wrong("file", f"{path} is about another job than the one that this run goes on from")
        return None
    report, ended = verify_chain(path, effort, most - 1)
    gap = gap_between(ended, found)
    if gap is not None:
        message = f"this run does not start where the one it goes on from ended, according to {path}: {gap}"
        wrong("state", message)
    findings += report.findings
    return report


def draw(segments: int, share: float, seed: int | None) -> list[int]:
    """Different segments at random, in ascending order."""
    source = random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311 - a seed asks for a fixed draw
    count = min(segments, max(1, round(share * segments)))
    return sorted(source.sample(range(segments), count))


def replay(
    folder: RunFolder,
    found: Checked,
    hasher: Hasher,
    sampled: Sequence[int],
    threads: int | None,
    progress: Listener | None,
) -> list[int]:
    """Run the drawn segments, and those that lead to damaged states; returns the segments that were compared."""
    manifest = found.receipt.manifest
    damaged = [boundary for boundary, state in found.states.items() if state.damage is not None]
    located: set[int] = set()
    checked: list[int] = []
    runnable = found.program is not None and found.constants is not None
    if runnable and len(found.receipt.roots) == manifest.segments:
        targets = [*(segment + 1 for segment in sampled), *(b for b in damaged if b > 0)]
        segments = segments_to_run(targets, found.intact)
        if segments:
            again = Replay(folder, found, *compiled(found, segments, threads, progress), hasher)
            again.run(segments)
            located, checked = again.located, again.checked
    for boundary in damaged:
        if boundary not in located:
            found.findings.append(damaged_state(folder, found, boundary))
    return checked


def compiled(
    found: Checked, segments: Sequence[int], threads: int | None, progress: Listener | None
) -> tuple[AnyEngine, Reporter]:
    """The engine for running these segments, and who is told how far it is."""
    from tallystick.engine.backends import make_engine

    manifest = found.receipt.manifest
    steps = sum(manifest.boundary_step(segment + 1) - manifest.boundary_step(segment) for segment in segments)
    reporter = Reporter(progress, steps, len(segments))
    reporter.tell("compile")
    assert found.program is not None, "the caller has checked it"
    return make_engine(found.program, threads), reporter


def damaged_state(folder: RunFolder, found: Checked, boundary: int) -> Finding:
    """A damaged state whose true content is not known here."""
    examined, path = found.states[boundary], folder.states.path(found.receipt.boundary_roots[boundary])
    when = f"after segment {boundary - 1}" if boundary else "at the start"
    names = [found.receipt.manifest.state[slot].name for slot in examined.slots]
    return Finding(
        kind="state",
        file=str(path),
        message=f"{path}: the stored state {when} cannot be used: {examined.damage}",
        segment=boundary - 1 if boundary else None,
        slot=names[0] if names else None,
    )
