"""Reading a job back from a run folder that a stranger may have made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from tallystick.commitment import NUMPY_DTYPES, Hasher, array_digest
from tallystick.errors import IntegrityError, JobError, ReceiptError
from tallystick.ir.captured import Captured
from tallystick.ir.verifier import verify
from tallystick.job.folder import RunFolder
from tallystick.job.hashing import JobHasher
from tallystick.job.job import Job
from tallystick.job.manifest import ConstantFact, Manifest
from tallystick.job.sources import MAX_SOURCES, Sources
from tallystick.job.states import aligned
from tallystick.spec.digests import constants_root, kernel_leaves, program_root
from tallystick.spec.encoding import decode_program
from tallystick.spec.programs import Program
from tallystick.spec.tensors import TensorType
from tallystick.store import read_file

MAX_PROGRAM = 1 << 30  # bytes


def open_job(path: str | Path) -> Job:
    """See ``Job.open``."""
    folder = RunFolder(path)
    manifest = folder.read_manifest()
    if manifest is None:
        raise JobError(f"{folder.path} is not a run folder: it has no manifest.json.")
    hasher = JobHasher()
    program = read_program(folder, manifest)
    names = [fact.name for fact in manifest.state]
    start = folder.state_files(program.states, names, hasher).open(bytes.fromhex(manifest.start_root))
    captured = Captured(
        program=program,
        state=aligned(start),
        constants=read_constants(folder, manifest, program, hasher),
        state_names=names,
        constant_names=[fact.name for fact in manifest.constants],
        sources=[kernel.source for kernel in read_sources(folder, program).kernels],
    )
    job = Job(captured, manifest.steps, manifest.segment_steps, manifest.name, manifest.after)
    job.__dict__["manifest"] = manifest  # everything in it was just checked: no need to hash it all again
    return job


def read_program(folder: RunFolder, manifest: Manifest) -> Program:
    """The program, decoded, verified, and compared with the manifest.

    Raises: DecodingError or ProgramError for bytes that are no valid program, IntegrityError for another program than
    the manifest's, ReceiptError if the manifest describes other slots.
    """
    program = decode_program(read_file(folder.program, min(manifest.program.bytes, MAX_PROGRAM)))
    verify(program)
    if program_root(program).hex() != manifest.program.root:
        raise IntegrityError(f"{folder.program} is not the program that the manifest names: it was changed")
    check_facts(manifest, program)
    return program


def check_facts(manifest: Manifest, program: Program) -> None:
    """Raises: ReceiptError unless the manifest describes the program's slots and its constants root."""
    for what, facts, types in (
        ("state", manifest.state, program.states),
        ("constants", manifest.constants, program.constants),
    ):
        if len(facts) != len(types):
            raise ReceiptError(f"the manifest lists {len(facts)} slots of {what}, the program has {len(types)}")
        for fact, type in zip(facts, types, strict=True):
            if fact.type != type:
                raise ReceiptError(f"the manifest describes {fact.name} differently than the program does")
        if len({fact.name for fact in facts}) != len(facts):
            raise ReceiptError(f"the manifest gives two slots of {what} the same name")
    digests = [bytes.fromhex(fact.digest) for fact in manifest.constants]
    if constants_root(digests).hex() != manifest.constants_root:
        raise ReceiptError("the manifest's constants root is not that of the constants it lists")


def read_constants(folder: RunFolder, manifest: Manifest, program: Program, hasher: Hasher) -> list[np.ndarray]:
    """The constants, memory-mapped, each checked against its digest. Raises: IntegrityError."""
    facts = zip(manifest.constants, program.constants, strict=True)
    return [read_constant(folder, fact, type, hasher) for fact, type in facts]


def read_constant(folder: RunFolder, fact: ConstantFact, type: TensorType, hasher: Hasher) -> np.ndarray:
    """One constant, memory-mapped, checked. Raises: IntegrityError."""
    digest_of: Callable[[np.ndarray], bytes] = partial(bytes_digest, type, hasher)
    try:
        data = folder.constants.open(bytes.fromhex(fact.digest), type.nbytes, digest_of)
    except IntegrityError as error:
        raise IntegrityError(f"constant {fact.name}: {error}") from None
    return as_tensor(type, data)


def bytes_digest(type: TensorType, hasher: Hasher, data: np.ndarray) -> bytes:
    """The tensor digest of dense bytes."""
    return array_digest(type, as_tensor(type, data), hasher)


def as_tensor(type: TensorType, data: np.ndarray) -> np.ndarray:
    """Dense bytes as an array of a tensor's type, without a copy."""
    return data.view(NUMPY_DTYPES[type.dtype]).reshape(type.shape)


def read_sources(folder: RunFolder, program: Program) -> Sources:
    """The lines the kernels come from. Raises: IntegrityError, ReceiptError."""
    sources = Sources.parse(read_file(folder.sources, MAX_SOURCES), str(folder.sources))
    leaves = [leaf.hex() for leaf in kernel_leaves(program)]
    if [kernel.leaf for kernel in sources.kernels] != leaves:
        raise ReceiptError(f"{folder.sources} is about other kernels than the program's")
    return sources
