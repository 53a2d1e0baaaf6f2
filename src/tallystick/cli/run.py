"""``tally run``: train, generate or run any program, and write a receipt."""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import dataclass
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

    from tallystick.cli.loading import AnyJob
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


@dataclass(frozen=True)
class Wishes:
    """The words of ``tally run`` besides the job, as they were given."""

    out: Path | None = None
    threads: int | None = None
    keep_states: str | None = None
    restart: bool = False
    resume_stored: bool = False
    continue_from: Path | None = None
    on_nan: str | None = None

    def options(self, job: AnyJob) -> dict[str, Any]:
        """What ``run`` of this job is called with. Raises: JobError for words that do not fit it, or each other."""
        from tallystick.job import Job, TrainingJob

        if self.restart and self.resume_stored:
            raise JobError("--restart forgets what --resume-stored would go on from: give one of them")
        options: dict[str, Any] = {
            "threads": self.threads,
            "keep_states": read_keep_states(self.keep_states),
            "resume": "stored" if self.resume_stored else not self.restart,
        }
        if self.continue_from is not None:
            if not isinstance(job, TrainingJob):
                raise JobError("--continue-from is for training jobs: others do not go on from a finished run")
            options["continue_from"] = self.continue_from
        if self.on_nan is not None:
            if not isinstance(job, TrainingJob | Job):
                raise JobError("--on-nan is for jobs that record a loss")
            options["on_nan"] = self.on_nan
        return options


def run_job(reference: str, wishes: Wishes, as_json: bool) -> None:
    """Run the user's job to its end, or on from where an earlier call stopped."""
    with Screen(as_json) as screen:
        from tallystick.job import Job

        read_keep_states(wishes.keep_states)
        again = shlex.join(["tally", *(word for word in sys.argv[1:] if word != "--restart")])
        screen.if_interrupted = f"whole segments are kept. Go on with:\n  {again}"
        with Bar(screen.err) as bar:
            bar.update("importing PyTorch and your file", 0, 0)
            job = load_job(reference)
            folder = wishes.out or Path("runs") / (job.name if isinstance(job, Job) else job.title)
            run = job.run(folder, progress=teller(bar), **wishes.options(job))
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
        if progress.note is not None:
            bar.note(progress.note)
            return
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
    losses = losses_of(run)
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
        "first_loss": None if losses is None else as_number(losses[0]),
        "last_loss": None if losses is None else as_number(losses[-1]),
        "nan_losses": None if losses is None else len(nan_steps(losses)),
        "final_root": receipt.roots[-1],
        "worker": receipt.worker,
        **generated(run),
    }


def losses_of(run: Run) -> list[float] | None:
    """The loss of every step, None for a program that records none."""
    return None if run.losses is None else run.losses.tolist()


def as_number(loss: float) -> float | None:
    """A loss in JSON, which has no word for one that is not finite."""
    return loss if math.isfinite(loss) else None


def nan_steps(losses: list[float]) -> list[int]:
    """The steps whose loss is NaN."""
    return [step for step, loss in enumerate(losses) if math.isnan(loss)]


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
    losses = losses_of(run)
    if losses is not None:
        facts["loss"] = f"{losses[0]:.4f} {sparkline(losses)} {losses[-1]:.4f}"
        if summary["nan_losses"]:
            facts["NaN losses"] = f"{summary['nan_losses']} of {len(losses)}, the first in step {nan_steps(losses)[0]}"
    for number, text in enumerate(summary.get("texts") or summary.get("tokens") or ()):
        facts[f"row {number}"] = repr(text)[:TEXT_SHOWN] if isinstance(text, str) else str(text)[:TEXT_SHOWN]
    return facts
