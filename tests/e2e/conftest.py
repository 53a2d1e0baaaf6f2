"""Users, and one short run that stories copy and look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.story import JOBS, ROOT, Colleague, User


@pytest.fixture(scope="session")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    return User(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="session")
def trained(user: User) -> Path:
    """The folder of a finished run. Stories do not change it."""
    user.tally("run", f"{JOBS}:job", "--out", "trained")
    return user.home / "trained"


@pytest.fixture
def colleague(user: User, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Colleague:
    """The same user without a process per command."""
    for name, value in user.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(user.home)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return Colleague(capsys)
