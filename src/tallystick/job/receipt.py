"""Receipts: what a worker claims, signed, in a form that people can read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from tallystick.errors import IntegrityError, ReceiptError
from tallystick.job.documents import (
    MAX_DOCUMENT,
    MAX_SEGMENTS,
    Count,
    Digests,
    Document,
    HexDigest,
    Name,
    canonical_json,
    describe,
    printable,
)
from tallystick.job.manifest import Manifest
from tallystick.job.signing import SigningKey, recover_signer
from tallystick.store import read_file

FORMAT = "tallystick.receipt/1"
FORMATS = re.compile(r"tallystick\.receipt/([0-9]{1,6})")

Address = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$", max_length=42)]
Signature = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{130}$", max_length=132)]


class FileFact(Document):
    """A file of the run folder, bound by its size and hash."""

    bytes: Count
    sha256: HexDigest

    @classmethod
    def of(cls, data: bytes) -> Self:
        return cls(bytes=len(data), sha256=sha256(data).hexdigest())

    def matches(self, data: bytes) -> bool:
        return self == FileFact.of(data)


class Files(Document):
    """The files of a run folder that are not named by their digest. A program without a model has no model file."""

    manifest: FileFact
    program: FileFact
    sources: FileFact
    model: FileFact | None


class Facts(Document):
    """How the run went: for people. No root depends on it, and re-running cannot confirm it."""

    started: Name
    finished: Name
    run_ms: Count
    hash_ms: Count
    write_ms: Count
    segment_ms: Annotated[tuple[Count, ...], Field(max_length=MAX_SEGMENTS)]
    peak_memory_bytes: Count
    package: Name
    machine: Annotated[dict[Name, Name | int], Field(max_length=64)]


class Receipt(Document):
    """A worker's claim: these roots are what this manifest's program computes.

    ``manifest_id`` and ``facts_id`` repeat what follows from the rest, so that a damaged receipt says which part of it
    was damaged.
    """

    format: Literal["tallystick.receipt/1"] = FORMAT
    worker: Address
    manifest_id: HexDigest
    manifest: Manifest
    roots: Digests
    files: Files
    facts: Facts
    facts_id: HexDigest
    signature: Signature

    @classmethod
    def sign(cls, key: SigningKey, manifest: Manifest, roots: Sequence[bytes], files: Files, facts: Facts) -> Self:
        """The receipt of a finished run."""
        facts_id = everything_else(key.address, files, facts)
        return cls(
            worker=key.address,
            manifest_id=manifest.id.hex(),
            manifest=manifest,
            roots=tuple(root.hex() for root in roots),
            files=files,
            facts=facts,
            facts_id=facts_id.hex(),
            signature=key.sign_receipt(manifest.id, roots, facts_id),
        )

    @property
    def boundary_roots(self) -> list[bytes]:
        """The start root, then the root after every segment."""
        return [bytes.fromhex(root) for root in (self.manifest.start_root, *self.roots)]

    def problems(self) -> list[str]:
        """What does not fit inside the receipt itself, one sentence each; empty for a sound one."""
        found = []
        if self.manifest_id != self.manifest.id.hex():
            found.append("the manifest is not the one that manifest_id names: one of them was changed")
        facts_id = everything_else(self.worker, self.files, self.facts)
        if self.facts_id != facts_id.hex():
            found.append("worker, files and facts are not what facts_id names: one of them was changed")
        if len(self.roots) != self.manifest.segments:
            found.append(f"it has {len(self.roots)} roots for {self.manifest.segments} segments")
        roots = [bytes.fromhex(root) for root in self.roots]
        try:
            signer = recover_signer(self.manifest.id, roots, facts_id, self.signature)
        except ReceiptError as error:
            found.append(str(error))
        else:
            if signer != self.worker:
                found.append(
                    f"the signature is not that of {self.worker} over this manifest, these roots and these facts: "
                    "something in the receipt was changed after it was signed"
                )
        return found


def everything_else(worker: str, files: Files, facts: Facts) -> bytes:
    """The hash of what a receipt says besides manifest and roots."""
    rest = {
        "format": FORMAT,
        "worker": worker,
        "files": files.model_dump(mode="json"),
        "facts": facts.model_dump(mode="json"),
    }
    return sha256(canonical_json(rest)).digest()


class Head(BaseModel):
    """The one field that every version of a receipt has."""

    format: str = ""


def parse_receipt(data: bytes, name: str = "the receipt") -> Receipt:
    """A receipt from its bytes, sound in form; ``Receipt.problems`` says whether it is sound in content.

    Raises: ReceiptError for garbage, other documents and receipts of a newer version.
    """
    try:
        written_as: Any = Head.model_validate_json(data).format
    except ValidationError as error:
        raise ReceiptError(f"{name} is not a receipt: {describe(error)}") from None
    version = FORMATS.fullmatch(written_as)
    if version is None:
        raise ReceiptError(f"{name} is not a receipt: its format is '{printable(written_as)}', not '{FORMAT}'")
    if written_as != FORMAT:
        raise ReceiptError(
            f"{name} is a receipt of version {version[1]}, and this release of tallystick reads version 1. "
            "Install a newer one: pip install --upgrade tallystick"
        )
    return Receipt.parse(data, name)


def load_receipt(path: str | Path) -> Receipt:
    """The receipt in a file, or in a run folder.

    Raises: ReceiptError if there is none or it is malformed.
    """
    path = receipt_path(path)
    try:
        data = read_file(path, MAX_DOCUMENT)
    except IntegrityError as error:
        raise ReceiptError(f"there is no receipt to read: {error}") from error
    return parse_receipt(data, str(path))


def receipt_path(path: str | Path) -> Path:
    """The file that is meant: a run folder stands for the receipt in it."""
    path = Path(path)
    return path / "receipt.json" if path.is_dir() else path
