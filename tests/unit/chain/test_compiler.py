"""Contracts are compiled once, from what was read, and never from a damaged cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.chain import compiler
from tallystick.chain.artifact import Artifact
from tallystick.chain.compiler import compile_contract, compile_file
from tallystick.errors import UsageError

SOURCE = """
# pragma version ~=0.4.3
import merkle
import own_module

@external
@pure
def empty_digest() -> bytes32:
    return own_module.number()
"""
MODULE = """
# pragma version ~=0.4.3

@internal
@pure
def number() -> bytes32:
    return convert({number}, bytes32)
"""


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    (tmp_path / "own_module.vy").write_text(MODULE.format(number=1))
    path = tmp_path / "Own.vy"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "contracts"


def test_the_second_time_it_comes_from_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compile_contract("TestToken", cache)
    monkeypatch.setattr(compiler, "_compile", None)
    assert compile_contract("TestToken", cache) == first


def test_a_contract_elsewhere_imports_its_own_modules_and_the_packages(contract: Path, cache: Path) -> None:
    assert compile_file(contract, cache).name == "Own"


def test_a_change_of_a_module_is_a_change(contract: Path, cache: Path) -> None:
    before = compile_file(contract, cache)
    (contract.parent / "own_module.vy").write_text(MODULE.format(number=2))
    assert compile_file(contract, cache).code_hash != before.code_hash


def test_where_a_contract_lies_does_not_change_it(contract: Path, cache: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    for path in (contract, contract.parent / "own_module.vy"):
        (other / path.name).write_bytes(path.read_bytes())
    assert compile_file(contract, cache) == compile_file(other / "Own.vy", tmp_path / "empty")


def test_another_compiler_or_evm_version_compiles_anew(
    contract: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_file(contract, cache)
    monkeypatch.setattr("vyper.__version__", "0.4.99")
    compile_file(contract, cache)
    monkeypatch.setattr(compiler, "EVM_VERSION", "prague")
    compile_file(contract, cache)
    assert len(list(cache.glob("*.json"))) == 3


@pytest.mark.parametrize("damage", [b"", b"x", b"0" * 64 + b"\n{}"])
def test_a_damaged_cache_is_not_believed(contract: Path, cache: Path, damage: bytes) -> None:
    good = compile_file(contract, cache)
    (path,) = cache.glob("*.json")
    whole = path.read_bytes()
    path.write_bytes(damage or whole.replace(b"bytecode", b"bytec0de"))
    assert compile_file(contract, cache) == good
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(contract: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert compile_file(contract, tmp_path / "file" / "cache").name == "Own"


def test_the_cache_stays_small(contract: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "KEPT", 2)
    for number in range(4):
        (contract.parent / "own_module.vy").write_text(MODULE.format(number=number))
        compile_file(contract, cache)
    assert len(list(cache.iterdir())) == 2


def test_artifacts_survive_json() -> None:
    artifact = compile_contract("TestToken")
    assert Artifact.from_json(artifact.to_json()) == artifact


def test_contracts_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no contract 'Nope'; there are .*TestToken"):
        compile_contract("Nope")
    with pytest.raises(UsageError, match="does not exist"):
        compile_file(tmp_path / "Nope.vy")


@pytest.mark.parametrize("module", ["web3", "vyper", "eth_tester", "eth_abi"])
def test_without_the_extra_it_says_what_to_install(module: str, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from pathlib import Path\n"
        "from tallystick.errors import UsageError\n"
        "try:\n"
        "    from tallystick.chain.connection import Chain\n"
        "    from tallystick.chain.compiler import compile_contract\n"
        "    Chain.embedded()\n"
        f"    compile_contract('TestToken', Path({str(tmp_path)!r}))\n"
        "except UsageError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"Contracts and chains need {module}, which is not installed: pip install 'tallystick[chain]'\n"
    )
