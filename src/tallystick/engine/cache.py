"""Compiled programs on disk, so that a program is compiled once per machine."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import llvmlite.binding as llvm
import platformdirs

from tallystick.engine.dataflow import Group
from tallystick.engine.generate import KernelCode
from tallystick.engine.kernel_function import KernelFunction, Phase
from tallystick.engine.target import Target
from tallystick.spec.encoding import encode_program
from tallystick.spec.programs import Program

KEPT = 64  # programs kept in a folder; those not stored or used for longest make room
_MAGIC = b"tallystick code 1\n"


def default_folder() -> Path:
    """Where compiled programs are kept unless said otherwise."""
    return Path(platformdirs.user_cache_dir("tallystick")) / "code"


def cache_key(program: Program, target: Target, groups: Sequence[Group] = ()) -> str:
    """What machine code depends on: the program, its groups, this engine, LLVM and the processor."""
    key = hashlib.sha256()
    version = ".".join(str(number) for number in llvm.llvm_version_info)
    for part in (version, target.isa, str(target.opt_level), target.cpu, target.features, _engine_digest()):
        key.update(part.encode() + b"\0")
    for group in groups:
        key.update(f"{group.extents} {group.kernels}".encode() + b"\0")
    key.update(encode_program(program))
    return key.hexdigest()


def _engine_digest() -> str:
    """A digest of the source of this package: another engine may generate other code."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()


class CodeCache:
    """A folder of compiled programs. What cannot be read back whole is compiled again; a folder that cannot be written
    is done without.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = default_folder() if folder is None else folder

    def load(self, key: str) -> tuple[bytes, KernelCode] | None:
        """The object and the description of its functions, or None."""
        try:
            path = self._path(key)
            data = path.read_bytes()
            os.utime(path)  # used now
        except OSError:
            return None
        head, digest, body = data[: len(_MAGIC)], data[len(_MAGIC) : len(_MAGIC) + 32], data[len(_MAGIC) + 32 :]
        if head != _MAGIC or hashlib.sha256(body).digest() != digest:
            return None
        description, _, object_bytes = body.partition(b"\n")
        return object_bytes, _kernel_code(json.loads(description))

    def store(self, key: str, object_bytes: bytes, code: KernelCode) -> None:
        """Keep a compiled program, whole or not at all."""
        body = json.dumps(asdict(code), separators=(",", ":")).encode() + b"\n" + object_bytes
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=f"{key[:16]}.")
        except OSError:
            return
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(body).digest() + body)
            Path(temporary).replace(self._path(key))
            self._make_room()
        except OSError:
            Path(temporary).unlink(missing_ok=True)

    def _make_room(self) -> None:
        files = sorted(self.folder.glob("*.code"), key=lambda path: path.stat().st_mtime_ns)
        for path in files[:-KEPT]:
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.code"


def _kernel_code(fields: dict) -> KernelCode:
    functions = tuple(
        KernelFunction(
            tuple(Phase(**phase) for phase in function["phases"]), function["shared_bytes"], function["scratch_bytes"]
        )
        for function in fields["functions"]
    )
    return KernelCode(functions, tuple(fields["function_of"]))
