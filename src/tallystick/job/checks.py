"""Checking the files of a run folder against its receipt. Nothing is run here, and nothing in the files is believed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tallystick.commitment import Hasher
from tallystick.errors import IntegrityError, ProgramError, ProtocolError, ReceiptError
from tallystick.ir.verifier import verify
from tallystick.job.documents import MAX_DOCUMENT, first_difference
from tallystick.job.folder import RunFolder
from tallystick.job.manifest import Manifest
from tallystick.job.opening import MAX_PROGRAM, check_facts, read_constant
from tallystick.job.receipt import FileFact, Receipt
from tallystick.job.report import Finding
from tallystick.job.sources import MAX_SOURCES, Sources
from tallystick.job.states import Examined, StateFiles
from tallystick.spec.digests import kernel_leaves, program_root
from tallystick.spec.encoding import decode_program
from tallystick.spec.programs import Program
from tallystick.store import read_file


@dataclass
class Checked:
    """A run folder after its files were looked at. What is None or missing was damaged, and a finding says so."""

    receipt: Receipt
    findings: list[Finding] = field(default_factory=list)
    program: Program | None = None
    sources: Sources | None = None
    constants: list[np.ndarray] | None = None
    states: dict[int, Examined] = field(default_factory=dict)  # by boundary; only those that are stored

    @property
    def intact(self) -> list[int]:
        """Boundaries with an intact stored state."""
        return [boundary for boundary, found in self.states.items() if found.damage is None]

    def add(self, file: object, message: str, **place: object) -> None:
        self.findings.append(Finding.model_validate({"kind": "file", "file": str(file), "message": message, **place}))


def check_folder(folder: RunFolder, receipt: Receipt, hasher: Hasher) -> Checked:
    """Look at every file the receipt binds.

    Raises: JobError if a file cannot be read.
    """
    checked = Checked(receipt)
    for problem in receipt.problems():
        message = f"{folder.receipt}: {problem}"
        checked.findings.append(Finding(kind="receipt", file=str(folder.receipt), message=message))
    check_manifest(folder, checked)
    check_sources(folder, checked)
    check_program(folder, checked)
    if checked.program is not None:
        check_constants(folder, checked, checked.program, hasher)
        names = [fact.name for fact in receipt.manifest.state]
        check_states(checked, folder.state_files(checked.program.states, names, hasher))
    return checked


def bounded_read(folder: RunFolder, name: str, fact: FileFact, limit: int, checked: Checked) -> bytes | None:
    """The bytes of a file that has the size it should have; None, with a finding, otherwise."""
    path = getattr(folder, name)
    try:
        return read_file(path, min(limit, max(fact.bytes, 1)))
    except IntegrityError as error:
        checked.add(path, str(error))
        return None


# MANIFEST AND SOURCES


def check_manifest(folder: RunFolder, checked: Checked) -> None:
    """The manifest's own file repeats the receipt's: whichever was changed is found, and the part that was."""
    manifest, fact = checked.receipt.manifest, checked.receipt.files.manifest
    try:
        data = read_file(folder.manifest, MAX_DOCUMENT)
    except IntegrityError as error:
        return checked.add(folder.manifest, str(error))
    expected = manifest.text().encode()
    if data == expected and fact.matches(data):
        return None
    if data == expected:
        return checked.add(folder.manifest, f"{folder.manifest} is not the file that the receipt binds")
    where = f"it differs from the receipt's first in {first_difference(data, expected)}"
    try:
        parts = Manifest.parse(data, str(folder.manifest)).differences(manifest)
        where = f"it differs from the receipt's in {', '.join(parts)}" if parts else where
    except ReceiptError as error:
        where = str(error)
    if fact.matches(data):
        return checked.add(folder.receipt, f"the receipt's manifest was changed; {folder.manifest} is intact: {where}")
    return checked.add(folder.manifest, f"{folder.manifest} was changed: {where}")


def check_sources(folder: RunFolder, checked: Checked) -> None:
    """The lines the kernels come from."""
    fact = checked.receipt.files.sources
    data = bounded_read(folder, "sources", fact, MAX_SOURCES, checked)
    if data is None:
        return None
    try:
        sources = Sources.parse(data, str(folder.sources))
    except ReceiptError as error:
        return checked.add(folder.sources, f"{folder.sources} was changed: {error}")
    if not fact.matches(data):
        return checked.add(folder.sources, f"{folder.sources} was changed: it is not the file that the receipt binds")
    checked.sources = sources
    return None


# PROGRAM


def check_program(folder: RunFolder, checked: Checked) -> None:
    """The program: its file's hash before it is parsed, then its meaning, then its root."""
    manifest, fact = checked.receipt.manifest, checked.receipt.files.program
    data = bounded_read(folder, "program", fact, MAX_PROGRAM, checked)
    if data is None:
        return
    intact = fact.matches(data)
    try:
        program = decode_program(data)
        if not intact:
            place = damaged_kernel(program, checked.sources)
            checked.add(folder.program, f"{folder.program} was changed: {place}")
            return
        verify(program)
        if program_root(program).hex() != manifest.program.root:
            raise IntegrityError("it is not the program that the manifest names")
        check_facts(manifest, program)
        if checked.sources is not None and len(checked.sources.kernels) != len(program.kernels):
            raise ReceiptError(f"{folder.sources} does not list the program's kernels")
    except (ProtocolError, ProgramError) as error:
        verb = "is not a valid program of this receipt" if intact else "was changed"
        checked.add(folder.program, f"{folder.program} {verb}: {error}")
    else:
        check_leaves(folder, checked, program)
        checked.program = program


def damaged_kernel(program: Program, sources: Sources | None) -> str:
    """Which kernel of a changed program is not the one the sources list."""
    leaves = [leaf.hex() for leaf in kernel_leaves(program)]
    if sources is None or len(sources.kernels) != len(leaves):
        return "it is not the file that the receipt binds"
    for number, (leaf, kernel) in enumerate(zip(leaves, sources.kernels, strict=True)):
        if leaf != kernel.leaf:
            return f"kernel {number} ({kernel.source}) is not the one it was"
    return "its header is not the one it was"


def check_leaves(folder: RunFolder, checked: Checked, program: Program) -> None:
    """The sources name every kernel by its leaf: a list of another program's lines would mislead."""
    if checked.sources is None:
        return
    leaves = [leaf.hex() for leaf in kernel_leaves(program)]
    for number, (leaf, kernel) in enumerate(zip(leaves, checked.sources.kernels, strict=True)):
        if leaf != kernel.leaf:
            checked.add(folder.sources, f"{folder.sources}: the entry of kernel {number} is not about this program's")
            checked.sources = None
            return


# CONSTANTS AND STATES


def check_constants(folder: RunFolder, checked: Checked, program: Program, hasher: Hasher) -> None:
    """Every constant against its digest; they stay memory-mapped."""
    found: list[np.ndarray] = []
    for fact, type in zip(checked.receipt.manifest.constants, program.constants, strict=True):
        try:
            found.append(read_constant(folder, fact, type, hasher))
        except IntegrityError as error:
            checked.add(folder.constants.path(bytes.fromhex(fact.digest)), str(error), slot=fact.name)
    if len(found) == len(program.constants):
        checked.constants = found


def check_states(checked: Checked, files: StateFiles) -> None:
    """Every state that is stored; the first and the last have to be."""
    roots = checked.receipt.boundary_roots
    stored = files.blobs.digests()
    known: dict[bytes, Examined] = {}
    for boundary, root in enumerate(roots):
        if root not in stored and 0 < boundary < len(roots) - 1:
            continue
        if root not in known:
            known[root] = files.examine(root)
        checked.states[boundary] = known[root]
