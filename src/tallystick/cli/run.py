"""``tally run``: train, generate or run any program, and write a receipt."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tallystick.cli.loading import load_job
from tallystick.cli.progress import Bar
from tallystick.cli.screen import Screen
from tallystick.cli.words import elapsed, facts_table, sparkline
from tallystick.errors import JobError
from tallystick.store.space import readable as byte_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallystick.job import Run
    from tallystick.job.progress import Progress
    from tallystick.job.retention import KeepStates

LABELS = {
    "capture": "capturing",
    "trace": "capturing: tracing the step",
    "write out": "capturing: writing operators out",
    "lower": "capturing: lowering operators",
    "fuse": "capturing: fusing kernels",
    "write": "writing",
    "check": "checking",
    "compile": "compiling",
    "run": "running",
}
TEXT_SHOWN = 200  # characters of a generated text in the summary for people


def run_job(
    reference: str, out: Path | None, threads: int | None, keep_states: str | None, restart: bool, as_json: bool
) -> None:
    """Run the user's job to its end, or on from where an earlier call stopped."""
    with Screen(as_json) as screen:
        from tallystick.job import Job

        kept = read_keep_states(keep_states)
        again = shlex.join(["tally", *(word for word in sys.argv[1:] if word != "--restart")])
        screen.if_interrupted = f"whole segments are kept. Go on with:\n  {again}"
        with Bar(screen.err) as bar:
            bar.update("importing PyTorch and your file", 0, 0)
            job = load_job(reference)
            folder = out or Path("runs") / (job.name if isinstance(job, Job) else job.title)
            run = job.run(folder, threads=threads, keep_states=kept, resume=not restart, progress=teller(bar))
        summary = summarise(run)
        if run.start_step == run.steps:
            screen.note(f"{folder} was finished before; --restart runs it anew")
        next_command = Text(
            f"check it: tally verify {shlex.quote(str(run.folder / 'receipt.json'))} --sample 10%", style="dim"
        )
        screen.show(summary, facts_table(readable(summary, run)), next_command)


def read_keep_states(text: str | None) -> KeepStates:
    """The value of --keep-states. Raises: JobError."""
    if text is None or text == "all":
        return text
    if not text.isdecimal():
        raise JobError(f"--keep-states {text}: give all or a number of at least 2")
    return int(text)


def teller(bar: Bar) -> Callable[[Progress], None]:
    """A listener that moves the bar."""

    def tell(progress: Progress) -> None:
        if progress.phase != "run":
            bar.update(LABELS.get(progress.phase, progress.phase), 0, 0)
            return
        facts = f"segment {min(progress.segment + 1, progress.segments)}/{progress.segments}"
        if progress.loss is not None:
            facts += f" · loss {progress.loss:.4f}"
        bar.update(LABELS["run"], progress.step, progress.steps, facts)

    return tell


def summarise(run: Run) -> dict[str, Any]:
    """A finished run as a JSON document."""
    receipt, facts = run.receipt, run.receipt.facts
    losses = run.losses
    has_model = receipt.files.model is not None
    return {
        "name": receipt.manifest.name,
        "folder": str(run.folder),
        "receipt": str(run.folder / "receipt.json"),
        "model": str(run.folder / "model.safetensors") if has_model else None,
        "manifest_id": receipt.manifest_id,
        "steps": run.steps,
        "segments": receipt.manifest.segments,
        "started_at_step": run.start_step,
        "seconds": None if run.seconds is None else round(run.seconds, 3),
        "run_ms": facts.run_ms,
        "hash_ms": facts.hash_ms,
        "write_ms": facts.write_ms,
        "peak_memory_bytes": facts.peak_memory_bytes,
        "first_loss": None if losses is None else float(losses[0]),
        "last_loss": None if losses is None else float(losses[-1]),
        "final_root": receipt.roots[-1],
        "worker": receipt.worker,
        **generated(run),
    }


def generated(run: Run) -> dict[str, Any]:
    """What a run has added to every prompt, if it was one of a generation job."""
    from tallystick.job import GenerationRun

    if not isinstance(run, GenerationRun):
        return {}
    return {"tokens": run.tokens(), "texts": run.texts() if run.has_tokenizer else None}


def readable(summary: dict[str, Any], run: Run) -> dict[str, str]:
    """The summary for people."""
    spent = summary["run_ms"] + summary["hash_ms"] + summary["write_ms"]
    shares = f"hashing {summary['hash_ms'] / max(1, spent):.1%}, writing {summary['write_ms'] / max(1, spent):.1%}"
    speed = f"{run.steps * 1000 / max(1, summary['run_ms']):.1f} steps/s"
    facts = {
        "job": f"{summary['name']}: {run.steps:,} steps in {summary['segments']} segments",
        "time": f"{elapsed(spent / 1000)}, {speed}; {shares}",
        "peak memory": f"{byte_size(summary['peak_memory_bytes'])} planned",
        "final root": summary["final_root"],
        **({"model": summary["model"]} if summary["model"] else {}),
        "receipt": f"{summary['receipt']}, signed by {summary['worker']}",
    }
    if run.losses is not None:
        curve = sparkline(run.losses.tolist())
        facts["loss"] = f"{summary['first_loss']:.4f} {curve} {summary['last_loss']:.4f}"
    for number, text in enumerate(summary.get("texts") or summary.get("tokens") or ()):
        facts[f"row {number}"] = repr(text)[:TEXT_SHOWN] if isinstance(text, str) else str(text)[:TEXT_SHOWN]
    return facts
