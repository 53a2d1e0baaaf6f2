"""Contracts are interfaces that outlive us: what they offer changes on purpose or not at all."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from tallystick.chain.artifact import CODE_LIMIT
from tallystick.chain.compiler import compile_contract, contract_names

NAMES = contract_names()


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    path = Path(__file__).parent / "write_contract_surface.py"
    spec = importlib.util.spec_from_file_location("write_contract_surface", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_contracts_are_the_agreed_ones(writer: ModuleType) -> None:
    assert list(json.loads(writer.SURFACE.read_text(encoding="utf-8"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_interface_and_code_are_the_agreed_ones(writer: ModuleType, name: str) -> None:
    """If the change is meant: python tests/architecture/write_contract_surface.py"""
    frozen = json.loads(writer.SURFACE.read_text(encoding="utf-8"))[name]
    found = writer.surface(compile_contract(name))
    assert found["abi"] == frozen["abi"]
    assert found["code_hash"] == frozen["code_hash"]


@pytest.mark.parametrize("name", NAMES)
def test_contracts_fit_on_a_chain(name: str) -> None:
    assert compile_contract(name).code_size <= CODE_LIMIT
