"""Who may import whom. import-linter holds the layers; the rest is read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "tallystick"

ALLOWED = {
    "torch": {"capture"},
    "llvmlite": {"engine"},
    "typer": {"cli"},
    "rich": {"cli"},
    "eth_account": {"job", "chain"},
    "eth_abi": {"chain"},
    "web3": {"chain"},
    "vyper": {"chain"},
    "eth": {"chain"},
    "eth_tester": {"chain"},
    "numpy": {"ir", "commitment", "store", "capture", "engine", "dispute", "job"},
}
"""Outside packages with the layers that may import them."""

FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Names of the modules a file imports anywhere in it, with the lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield node.module or "", node.lineno


def files() -> Iterator[tuple[str, Path]]:
    """Every file of the package with its layer's name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path


def test_layers_import_only_lower_layers() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("package", ALLOWED)
def test_outside_packages_stay_in_their_layers(package: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for layer, path in files()
        for name, line in imports(path)
        if name.split(".")[0] == package and layer not in ALLOWED[package]
    }
    assert found == set()


def test_spec_imports_only_the_standard_library() -> None:
    own = ("tallystick.spec", "tallystick.errors")
    found = {
        f"{path.relative_to(ROOT)}:{line} {name}"
        for layer, path in files()
        if layer in ("spec", "errors")
        for name, line in imports(path)
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith(own)
    }
    assert found == set()


def test_nothing_can_execute_stored_bytes() -> None:
    """No pickle, no eval, no exec: what comes from a stranger is data."""
    found = set()
    for _, path in files():
        found |= {f"{path.name}:{line} {name}" for name, line in imports(path) if name.split(".")[0] in FORBIDDEN}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
                found.add(f"{path.name}:{node.lineno} {node.func.id}")
    assert found == set()


def test_files_and_functions_are_short() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "check_file_sizes.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
