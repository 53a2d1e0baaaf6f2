"""What a report is made of: commands, each of which measures one part and prints JSON."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent.parent
TIMEOUT_S = 900
CASES = ("mlp", "digits", "gpt-1m", "gpt-10m", "gpt-85m", "llama-10m", "bert", "vit", "resnet-18")
ADAPTERS = ("smollm2-lora", "smollm2-lora-bf16")
SWEEPS = ("parameters", "sequence", "batch")


@dataclass(frozen=True)
class Part:
    """A benchmark with its arguments; ``section`` is what its rows belong to."""

    name: str
    section: str
    script: str
    arguments: tuple[str, ...] = ()


def parts(threads: int) -> list[Part]:
    """All parts, what matters most first."""
    both = ("--threads", str(threads))
    steps = ("--compile", "--repeats", "5", *both)
    return [
        *(Part(f"step-{case}", "steps", "training_step.py", ("--only", case, *steps)) for case in CASES),
        *(
            Part(f"step-{case}", "steps", "training_step.py", ("--only", case, "--repeats", "9", *both))
            for case in ADAPTERS
        ),
        *(
            Part(f"contractions-{n}", "contractions", "contractions.py", ("--threads", str(n), "--repeats", "9"))
            for n in sorted({1, threads})
        ),
        Part("decoding", "decoding", "decoding.py", ("--repeats", "5", *both)),
        Part("compile-time", "compile-time", "compile_time.py", both),
        Part("memory", "memory", "memory.py"),
        Part("hashing", "hashing", "hashing.py"),
        *(
            Part(f"scaling-{sweep}", "scaling", "scaling.py", ("--only", sweep, "--repeats", "3", *both))
            for sweep in SWEEPS
        ),
    ]


def take(part: Part, folder: Path) -> str | None:
    """Measure a part and keep its result in ``folder/<name>.json``. Returns why there is none, or None."""
    script = BENCHMARKS / part.script
    if not script.exists():
        return f"there is no {part.script}"
    start = time.monotonic()
    log = folder / f"{part.name}.log"
    command = [sys.executable, str(script), *part.arguments, "--json"]
    with log.open("w", encoding="utf-8") as errors:
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"it took longer than {TIMEOUT_S} s"
    rows, machine = result_of(done.stdout)
    if not rows:
        return f"it ended with {done.returncode} and no rows; see {log}"
    taken = {
        "part": part.name,
        "section": part.section,
        "command": ["python", f"benchmarks/{part.script}", *part.arguments],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(time.monotonic() - start),
        "machine": machine,
        "rows": rows,
    }
    path = folder / f"{part.name}.json"
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(taken, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
    return None if done.returncode == 0 else f"some of it failed; see {log}"


def result_of(text: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows that a benchmark printed, and the machine if it told: a list, or an object with both."""
    try:
        told = json.loads(text)
    except json.JSONDecodeError:
        return [], {}
    if isinstance(told, dict):
        if isinstance(told.get("rows"), list):
            return told["rows"], told.get("machine", {})
        return [told], {}
    return list(told), {}


def taken(folder: Path, every: Sequence[Part]) -> list[dict[str, Any]]:
    """The results that are there, in the order of the parts."""
    paths = [folder / f"{part.name}.json" for part in every]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
