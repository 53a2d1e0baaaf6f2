"""Run folders: everything a run needs and yields, so that the folder alone can be resumed and verified.

manifest.json        what the job is; written last of the job's own files, so its presence says that they are complete
program.tally        the program's canonical bytes
sources.json         the user's lines every kernel came from
constants/           one file per constant, named by tensor digest
states/              one file per stored state, named by state root
journal              one line per finished segment
model.safetensors    the trained weights, at the end
receipt.json         the claim, signed, at the end
before/              the run folder of the job that this one goes on from, if it does
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tallystick.commitment import Hasher, TensorHasher, dense_pieces
from tallystick.errors import IntegrityError, JobError
from tallystick.ir.captured import Captured
from tallystick.job.documents import MAX_DOCUMENT
from tallystick.job.journal import Journal
from tallystick.job.manifest import Manifest
from tallystick.job.sources import Sources
from tallystick.job.states import StateFiles
from tallystick.spec.digests import kernel_leaves
from tallystick.spec.encoding import encode_program
from tallystick.spec.tensors import TensorType
from tallystick.store import Blobs, read_file, share_file, sweep_temporaries, write_file
from tallystick.store.trouble import explained

OWN_NAMES = frozenset(
    {"manifest.json", "program.tally", "sources.json", "constants", "states", "journal", "model.safetensors"}
    | {"receipt.json", "before", ".lock"}
)


class RunFolder:
    """Paths and blobs of one run folder. Making the object touches nothing."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = self.path / "manifest.json"
        self.program = self.path / "program.tally"
        self.sources = self.path / "sources.json"
        self.model = self.path / "model.safetensors"
        self.receipt = self.path / "receipt.json"
        self.before = self.path / "before"
        self.constants = Blobs(self.path / "constants", ".bin")
        self.states = Blobs(self.path / "states", ".state")
        self.journal = Journal(self.path / "journal")

    def create(self) -> None:
        """Make the folder, or accept one that is empty or a run folder already.

        Raises: JobError if it cannot be made, or holds other things: a run must not be mixed into them.
        """
        with explained("write", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            names = [entry.name for entry in self.path.iterdir()]
        foreign = [name for name in names if name not in OWN_NAMES and not name.startswith(".")]
        if foreign and "manifest.json" not in names:
            raise JobError(
                f"{self.path} is not empty and not a run folder (it holds {sorted(foreign)[0]}). Choose another folder."
            )
        self.constants.create()
        self.states.create()

    def sweep(self) -> None:
        """Remove what a killed process left behind. Only while the folder is locked. Raises: JobError."""
        for folder in (self.path, self.constants.folder, self.states.folder):
            sweep_temporaries(folder)

    def clear(self) -> None:
        """Forget a run: its manifest first, so that an interruption leaves no half of one. Raises: JobError."""
        with explained("write", self.path):
            for path in (self.manifest, self.receipt, self.model, self.journal.path):
                path.unlink(missing_ok=True)
            for blobs in (self.states, self.constants):
                for digest in blobs.digests():
                    blobs.remove(digest)

    def share_file(self, name: str, other: RunFolder) -> None:
        """Let another folder hold a file of this one, too, if it is here and not there. Raises: JobError."""
        source, target = getattr(self, name), getattr(other, name)
        if source.is_file() and not target.exists():
            share_file(source, target)

    def state_files(self, types: Sequence[TensorType], names: Sequence[str], hasher: Hasher) -> StateFiles:
        """The stored states of a program with these slots."""
        return StateFiles(self.states, types, names, hasher)

    def read_manifest(self) -> Manifest | None:
        """The manifest of the job the folder holds, None if it holds none yet.

        Raises: ReceiptError if it is malformed, JobError if it cannot be read.
        """
        try:
            data = read_file(self.manifest, MAX_DOCUMENT)
        except IntegrityError:
            if self.manifest.exists():
                raise
            return None
        return Manifest.parse(data, str(self.manifest))

    def write_job(self, captured: Captured, manifest: Manifest, hasher: Hasher) -> None:
        """Store constants, program, sources and manifest; constants that are there already are not written again.

        The start state is stored by the run loop, like every state. Raises: ResourceError, JobError.
        """
        for fact, type, array in zip(manifest.constants, captured.program.constants, captured.constants, strict=True):
            digest = bytes.fromhex(fact.digest)
            if self.constants.has(digest, type.nbytes):
                continue
            stored = self.constants.put_stream(dense_pieces(array), TensorHasher(type, hasher))
            if stored != digest:
                self.constants.remove(stored)
                raise JobError(f"{fact.name} changed while it was being stored. Leave the data alone during a run.")
        write_file(self.program, [encode_program(captured.program)])
        write_file(self.sources, [Sources.of(kernel_leaves(captured.program), captured.sources).text().encode()])
        write_file(self.manifest, [manifest.text().encode()])
