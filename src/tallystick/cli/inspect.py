"""``tally inspect``: a program in readable text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tallystick.cli.loading import load_job
from tallystick.cli.screen import Screen
from tallystick.cli.words import facts_table
from tallystick.store.space import readable as byte_size

if TYPE_CHECKING:
    from tallystick.ir.captured import Captured
    from tallystick.job import Job
    from tallystick.spec.kernels import Kernel
    from tallystick.spec.tensors import TensorType


def inspect_program(what: str, bodies: bool, as_json: bool) -> None:
    """Print what ``what`` would run: a job in the user's file, or what a run folder holds."""
    with Screen(as_json) as screen:
        job = find_job(what)
        facts = job_facts(job)
        if as_json:
            captured = job.captured
            slots = {
                "state": list(slot_facts(captured.state_names, captured.program.states)),
                "constants": list(slot_facts(captured.constant_names, captured.program.constants)),
            }
            screen.show({**facts, **slots, "kernels": list(kernel_facts(captured, bodies))})
            return
        from tallystick.ir.printer import format_program

        captured = job.captured
        names = [*captured.state_names, *captured.constant_names]
        screen.write(format_program(captured.program, captured.sources, names, bodies))
        screen.show({}, "", facts_table(readable(facts)))


def find_job(what: str) -> Job:
    """The job that a reference or a run folder stands for.

    Raises: JobError if it is neither; ProtocolError if the folder's files are not what they claim to be.
    """
    from tallystick.job import Job

    path = Path(what)
    if path.is_dir() or path.name == "receipt.json":
        return Job.open(path if path.is_dir() else path.parent)
    found = load_job(what)
    return found if isinstance(found, Job) else found.job()


def job_facts(job: Job) -> dict[str, Any]:
    """What is known about a job before it runs. Memory is the engine's plan for one run."""
    from tallystick.engine import Engine

    captured, manifest = job.captured, job.manifest
    return {
        "name": job.name,
        "manifest_id": manifest.id.hex(),
        "program_root": manifest.program.root,
        "constants_root": manifest.constants_root,
        "start_root": manifest.start_root,
        "steps": job.steps,
        "segment_steps": job.segment_steps,
        "work_per_step": manifest.program.work_per_step,
        "work": manifest.program.work_per_step * job.steps,
        "program_bytes": manifest.program.bytes,
        "state_bytes": sum(type.nbytes for type in captured.program.states),
        "constants_bytes": sum(type.nbytes for type in captured.program.constants),
        "peak_memory_bytes": int(Engine(captured.program).peak_memory),
        "kernel_count": len(captured.program.kernels),
    }


def readable(facts: dict[str, Any]) -> dict[str, str]:
    """The facts for people."""
    return {
        "job": facts["name"],
        "job id": facts["manifest_id"],
        "program": f"{facts['kernel_count']} kernels in {byte_size(facts['program_bytes'])}",
        "program root": facts["program_root"],
        "work": f"{facts['work_per_step']:,} per step, {facts['work']:,} in {facts['steps']:,} steps",
        "state": byte_size(facts["state_bytes"]),
        "constants": byte_size(facts["constants_bytes"]),
        "peak memory": f"{byte_size(facts['peak_memory_bytes'])} planned",
    }


def slot_facts(names: Sequence[str], types: Sequence[TensorType]) -> Iterator[dict[str, Any]]:
    for name, type in zip(names, types, strict=True):
        yield {"name": name, "dtype": type.dtype.name.lower(), "shape": list(type.shape)}


def kernel_facts(captured: Captured, bodies: bool) -> Iterator[dict[str, Any]]:
    """One object per kernel, in order."""
    from tallystick.ir.accounting import kernel_work
    from tallystick.ir.printer import body_lines, format_type

    value = len(captured.program.states) + len(captured.program.constants)
    for number, (kernel, source) in enumerate(zip(captured.program.kernels, captured.sources, strict=True)):
        facts: dict[str, Any] = {
            "number": number,
            "kind": kernel_kind(kernel),
            "shape": list(kernel.out_shape),
            "reduce_shape": list(kernel.reduce_shape),
            "reads": sorted({view.value for view in kernel.loads}),
            "makes": {value + i: format_type(type) for i, type in enumerate(kernel.output_types)},
            "work": kernel_work(kernel),
            "source": source,
        }
        if bodies:
            facts["body"] = list(body_lines(kernel))
        value += len(kernel.outputs)
        yield facts


def kernel_kind(kernel: Kernel) -> str:
    """map, fold, scan or scatter."""
    if kernel.scatter is not None:
        return "scatter"
    if kernel.fold is None:
        return "map"
    return "scan" if kernel.fold.scan else "fold"
