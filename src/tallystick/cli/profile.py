"""``tally profile``: where a job's time goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tallystick.cli.inspect import find_job
from tallystick.cli.screen import Screen
from tallystick.cli.words import facts_table
from tallystick.errors import JobError
from tallystick.store.space import readable as byte_size

if TYPE_CHECKING:
    from tallystick.engine.profile import Group, Profile

SORTS: dict[str, Callable[[dict[str, Any]], float]] = {
    "time": lambda row: -row["ms"],
    "lost": lambda row: -row["ms"] * (1 - min(row["of_roof"], 1.0)),
    "roof": lambda row: row["of_roof"],
    "gflops": lambda row: -row["gflops"],
    "gbytes": lambda row: -row["gbytes"],
}
"""What the rows can be sorted by."""

SOURCE_WIDTH = 100  # characters of a source that are printed; --json has all of them


def profile_job(what: str, steps: int | None, top: int, sort: str, threads: int | None, as_json: bool) -> None:
    """Run some steps of a job from its start and tell what they spend their time on. Nothing is written."""
    with Screen(as_json) as screen:
        if sort not in SORTS:
            raise JobError(f"--sort {sort}: give one of {', '.join(SORTS)}")
        job = find_job(what)
        from tallystick.engine import Engine

        captured = job.captured
        engine = Engine(captured.program, threads=threads)
        found = engine.profile(captured.state, captured.constants, steps=steps)
        rows = sorted((row_of(group, found) for group in found.groups(captured.sources)), key=SORTS[sort])
        summary = {"name": job.name, **summarise(found), "machine": engine.describe()}
        screen.show({**summary, "groups": rows}, *lines_of(rows, top), "", facts_table(readable(summary)))


def row_of(group: Group, found: Profile) -> dict[str, Any]:
    """One group of kernels as a JSON object."""
    seconds, work = group.seconds, group.work
    phases: dict[str, float] = {}
    for kernel in group.kernels:
        for name, spent in kernel.phases.items():
            phases[name] = phases.get(name, 0.0) + spent
    compute = found.roofs.compute_seconds(work.operations)
    memory = found.roofs.memory_seconds(work.read, work.written)
    return {
        "kind": group.kind,
        "kernels": [kernel.number for kernel in group.kernels],
        "shape": list(group.kernels[0].shape),
        "reduce_shape": list(group.kernels[0].reduce_shape),
        "ms": seconds * 1e3,
        "share": seconds / found.step_seconds,
        "gflops": work.flops / max(seconds, 1e-12) / 1e9,
        "gbytes": (work.read + work.written) / max(seconds, 1e-12) / 1e9,
        "of_roof": found.attained(work, seconds),
        "bound": "compute" if compute > memory else "memory",
        "phases_ms": {name: spent * 1e3 for name, spent in phases.items()},
        "source": group.source,
    }


def summarise(found: Profile) -> dict[str, Any]:
    """The whole step as a JSON object."""
    return {
        "threads": found.threads,
        "steps": found.steps,
        "step_ms": found.step_seconds * 1e3,
        "kinds_ms": {kind: seconds * 1e3 for kind, seconds in found.by_kind().items()},
        "waiting_ms": found.waiting * 1e3,
        "sharing_ms": found.sharing * 1e3,
        "copying_ms": found.copying * 1e3,
        "roofs": {
            "gflops": found.roofs.flops / 1e9,
            "read_gbytes": found.roofs.read / 1e9,
            "written_gbytes": found.roofs.written / 1e9,
        },
        "state_bytes": found.state_bytes,
        "arena_bytes": found.arena_bytes,
        "plan_bytes": found.plan_bytes,
    }


def lines_of(rows: list[dict[str, Any]], top: int) -> Iterator[str]:
    """The first rows for people, a line each, however long."""
    yield f"{'ms':>9} {'share':>6} {'GFLOP/s':>8} {'GB/s':>6} {'of roof':>12}  {'kernels':48} from"
    for row in rows[:top]:
        roof = f"{row['of_roof']:.0%} {row['bound']}"
        yield (
            f"{row['ms']:9.3f} {row['share']:6.1%} {row['gflops']:8.1f} {row['gbytes']:6.1f} {roof:>12}  "
            f"{kernels_of(row):48} {shortened(row['source'], SOURCE_WIDTH)}"
        )
    if len(rows) > top:
        rest, share = (sum(row[name] for row in rows[top:]) for name in ("ms", "share"))
        yield f"{rest:9.3f} {share:6.1%} {'':29} {len(rows) - top} more rows: --top N"


def kernels_of(row: dict[str, Any]) -> str:
    """What a row stands for: how many kernels of which kind and shape."""
    times = f"{len(row['kernels'])} x " if len(row["kernels"]) > 1 else ""
    shape = "x".join(map(str, row["shape"])) or "1"
    over = f" over {'x'.join(map(str, row['reduce_shape']))}" if row["reduce_shape"] else ""
    return f"{times}{row['kind']} {shape}{over}"


def shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def readable(summary: dict[str, Any]) -> dict[str, str]:
    """The whole step for people."""
    step = summary["step_ms"]

    def part(milliseconds: float) -> str:
        return f"{milliseconds / step:.1%}"

    roofs = summary["roofs"]
    kinds = ", ".join(f"{kind}s {part(spent)}" for kind, spent in summary["kinds_ms"].items())
    return {
        "step": f"{step:.3f} ms, the mean of {summary['steps']} on {summary['threads']} threads",
        "kernels": kinds,
        "besides": f"waiting {part(summary['waiting_ms'])}, sharing work {part(summary['sharing_ms'])}, "
        f"copying state {part(summary['copying_ms'])}",
        "roofs": f"measured now: {roofs['gflops']:.0f} GFLOP/s, reading {roofs['read_gbytes']:.1f} GB/s, "
        f"writing {roofs['written_gbytes']:.1f} GB/s from and to memory",
        "memory": f"{byte_size(summary['plan_bytes'])} planned: state {byte_size(summary['state_bytes'])}, "
        f"values between kernels {byte_size(summary['arena_bytes'])}",
    }
