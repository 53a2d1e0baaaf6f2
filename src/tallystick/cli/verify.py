"""``tally verify``: is a receipt true?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tallystick.cli.exits import NOT_VERIFIED
from tallystick.cli.folders import receipt_file
from tallystick.cli.progress import Bar
from tallystick.cli.screen import Screen
from tallystick.cli.words import elapsed, facts_table
from tallystick.errors import JobError

if TYPE_CHECKING:
    from tallystick.job import Progress, VerificationReport
    from tallystick.job.report import Finding

DEFAULT_SAMPLE = "5%"
SHOWN_FINDINGS = 20
LABELS = {"check": "checking files", "compile": "compiling", "locate": "locating the difference"}


def verify_receipt(receipt: Path, sample: str | None, full: bool, threads: int | None, as_json: bool) -> None:
    """Check the receipt, say what was found, and leave with the exit code for it."""
    with Screen(as_json) as screen:
        screen.if_interrupted = "nothing was verified"
        if full and sample is not None:
            raise JobError("--sample and --full say different things: give one of them")
        share = read_share(sample or DEFAULT_SAMPLE)
        file = receipt_file(receipt)
        from tallystick.job import verify

        with Bar(screen.err) as bar:
            report = verify(file, sample=share, full=full, threads=threads, progress=teller(bar))
        document = {"ok": report.ok, "statement": report.statement, **report.model_dump(mode="json")}
        if report.ok:
            screen.show(document, facts_table(readable(report)), Text(report.statement, style="green"))
            return
        parts = [Text(f"{number}. {finding.message}") for number, finding in enumerate(report.findings, 1)]
        if len(parts) > SHOWN_FINDINGS:
            parts[SHOWN_FINDINGS:] = [Text(f"and {len(parts) - SHOWN_FINDINGS} more; --json lists them all")]
        place = report.difference
        table = [] if place is None else [facts_table(whereabouts(place))]
        screen.show(document, Text(report.statement, style="bold red"), *parts, "", *table)
        raise SystemExit(NOT_VERIFIED)


def read_share(text: str) -> float:
    """A share of the segments: "5%" and "0.05" are the same. Raises: JobError."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise JobError(f"--sample {text}: give a percentage such as 5% or a share such as 0.05") from None
    if not 0 < share <= 1:
        percent = f"; for {text} percent write {text}%" if 1 < share <= 100 and not text.endswith("%") else ""
        raise JobError(f"--sample {text}: give more than 0% and at most 100%{percent}")
    return share


def teller(bar: Bar) -> Callable[[Progress], None]:
    """A listener that moves the bar."""

    def tell(progress: Progress) -> None:
        if progress.phase != "verify":
            bar.update(LABELS.get(progress.phase, progress.phase), 0, 0)
            return
        bar.update("running again", progress.step, progress.steps, f"segment {progress.segment}")

    return tell


def readable(report: VerificationReport) -> dict[str, str]:
    """The facts of a verification for people."""
    count = len(report.checked)
    drawn = ", ".join(map(str, report.sampled[:10])) + (", ..." if len(report.sampled) > 10 else "")
    facts = {
        "job": f"{report.name}: {report.steps:,} steps in {report.segments} segments",
        "signed by": report.worker,
        "run again": f"{count} segment{'s' * (count != 1)} in {elapsed(report.seconds)} (drawn: {drawn})",
    }
    if report.before is not None:
        facts["goes on from"] = "; ".join(f"{run.name}, signed by {run.worker}" for run in report.runs[1:])
    return facts


def whereabouts(finding: Finding) -> dict[str, str]:
    """Where a difference is, one fact per line."""
    facts: dict[str, Any] = {
        "file": finding.file,
        "segment": finding.segment,
        "step": steps_in_words(finding),
        "kernel": finding.kernel,
        "source": finding.source,
        "slot": finding.slot,
        "element": None if finding.element is None else list(finding.element),
        "claimed": finding.claimed,
        "true": finding.true,
    }
    return {name: str(fact) for name, fact in facts.items() if fact is not None}


def steps_in_words(finding: Finding) -> str | None:
    """The steps that can have gone wrong: "99" or "50 to 99"."""
    if finding.last_step is None:
        return None
    if finding.first_step in (None, finding.last_step):
        return str(finding.last_step)
    return f"{finding.first_step} to {finding.last_step}"
