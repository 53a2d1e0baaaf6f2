"""Vyper source to artifacts, each compiled once per machine."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path, PurePosixPath

import platformdirs

from tallystick.chain.artifact import Artifact
from tallystick.chain.extra import ChainExtra
from tallystick.errors import UsageError

CONTRACTS = Path(__file__).parent.parent / "contracts"
EVM_VERSION = "cancun"  # the oldest with all that the contracts use (MCOPY, transient storage); later forks run it too
KEPT = 64  # artifacts kept in a folder; those not stored or used for longest make room
_FORMAT = "tallystick artifact 1"

Sources = dict[PurePosixPath, str]


def contract_names() -> list[str]:
    """Contracts of this package that can be deployed: files in CamelCase; the others are modules."""
    return sorted(path.stem for path in CONTRACTS.glob("*.vy") if path.stem[0].isupper())


def compile_contract(name: str, cache: Path | None = None) -> Artifact:
    """One of this package's contracts, by its file's name without `.vy`.

    Raises: UsageError if there is no such contract, or Vyper is not installed.
    """
    if not (CONTRACTS / f"{name}.vy").is_file():
        raise UsageError(f"There is no contract {name!r}; there are {', '.join(contract_names())}")
    return compile_file(CONTRACTS / f"{name}.vy", cache)


def compile_file(path: Path, cache: Path | None = None) -> Artifact:
    """A contract anywhere, which may import modules from its own folder and from this package's contracts.

    `cache` is the folder of artifacts, by default in the user's cache folder.
    Raises: UsageError if the file is missing, or Vyper is not installed. What Vyper says of wrong code passes through.
    """
    if not path.is_file():
        raise UsageError(f"{path} does not exist")
    sources = _read(CONTRACTS, "contracts")
    folder = "contracts"
    if path.parent.resolve() != CONTRACTS.resolve():
        folder = "own"
        sources |= _read(path.parent, folder)
    main = PurePosixPath(folder, path.name)
    cached = _Cache(default_cache() if cache is None else cache, _key(main, sources))
    artifact = cached.load()
    if artifact is None:
        artifact = _compile(main, sources)
        cached.store(artifact)
    return artifact


def default_cache() -> Path:
    """Where artifacts are kept unless said otherwise."""
    return Path(platformdirs.user_cache_dir("tallystick")) / "contracts"


def _read(folder: Path, name: str) -> Sources:
    """All Vyper files of a folder. They are read once, so that what is compiled is what the key was made from."""
    return {PurePosixPath(name, path.name): path.read_text(encoding="utf-8") for path in folder.glob("*.vy*")}


def _compile(main: PurePosixPath, sources: Sources) -> Artifact:
    with ChainExtra():
        from vyper.compiler import CompilerData
        from vyper.compiler.input_bundle import JSONInputBundle
        from vyper.compiler.output import build_abi_output
        from vyper.compiler.settings import Settings
    folders = [PurePosixPath("contracts"), main.parent]  # the last is looked at first
    bundle = JSONInputBundle({path: {"content": text} for path, text in sources.items()}, folders)
    data = CompilerData(bundle.load_file(main.name), bundle, Settings(evm_version=EVM_VERSION))
    immutable_bytes = data.annotated_vyper_module._metadata["type"].immutable_section_bytes
    return Artifact(main.stem, build_abi_output(data), data.bytecode, data.bytecode_runtime, immutable_bytes)


def _key(main: PurePosixPath, sources: Sources) -> str:
    with ChainExtra():
        from vyper import __version__ as compiler
    key = hashlib.sha256()
    for part in (_FORMAT, compiler, EVM_VERSION, str(main)):
        key.update(part.encode() + b"\0")
    for path in sorted(sources):
        key.update(str(path).encode() + b"\0" + hashlib.sha256(sources[path].encode()).digest())
    return key.hexdigest()


class _Cache:
    """The file of one artifact: its digest, a line break, the artifact. What cannot be read back whole is compiled
    again; a folder that cannot be written is done without.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"{key}.json"

    def load(self) -> Artifact | None:
        try:
            digest, _, body = self.path.read_bytes().partition(b"\n")
            os.utime(self.path)  # used now
        except OSError:
            return None
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return None
        return Artifact.from_json(body.decode())

    def store(self, artifact: Artifact) -> None:
        body = artifact.to_json().encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f"{self.path.stem[:16]}.")
        except OSError:
            return
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            Path(temporary).replace(self.path)
            self._make_room()
        except OSError:
            Path(temporary).unlink(missing_ok=True)

    def _make_room(self) -> None:
        """Forget what was used longest ago. Another process may do the same at the same time."""
        ages = []
        for path in self.path.parent.glob("*.json"):
            try:
                ages.append((path.stat().st_mtime_ns, path))
            except FileNotFoundError:
                continue
        for _, path in sorted(ages)[:-KEPT]:
            path.unlink(missing_ok=True)
