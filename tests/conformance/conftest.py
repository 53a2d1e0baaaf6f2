"""The implementations under test."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.implementations import (
    Implementation,
    Native,
    Registered,
    Specification,
    native_targets,
    registered_engines,
)
from tallystick.engine import Target

THREADS = (1, 2, 3)
NATIVE = [f"{target.isa}-O{target.opt_level}-{threads}" for target in native_targets() for threads in THREADS]
INSTALLED = [f"engine {name}" for name in registered_engines()]


@pytest.fixture(scope="session")
def code_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs, kept from one number of threads to the next but not from one test run to the next."""
    return tmp_path_factory.mktemp("code")


@pytest.fixture(scope="session", params=["spec", *NATIVE, *INSTALLED])
def impl(request: pytest.FixtureRequest, code_cache: Path) -> Implementation:
    """Every implementation: the definition, the engine for every target and one to three threads, other engines."""
    if request.param == "spec":
        return Specification()
    if request.param in INSTALLED:
        return Registered(request.param.removeprefix("engine "))
    isa, level, threads = request.param.split("-")
    return Native(Target(isa, int(level[1:])), int(threads), code_cache)


@pytest.fixture(scope="session", params=native_targets(), ids=lambda target: f"{target.isa}-O{target.opt_level}")
def natives(request: pytest.FixtureRequest, code_cache: Path) -> list[Native]:
    """The engine for one target, on one to three threads."""
    return [Native(request.param, threads, code_cache) for threads in THREADS]
