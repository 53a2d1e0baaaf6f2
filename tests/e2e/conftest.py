"""Users, and one short run that stories copy and look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.story import JOBS, User


@pytest.fixture(scope="session")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    return User(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="session")
def trained(user: User) -> Path:
    """The folder of a finished run. Stories do not change it."""
    user.tally("run", f"{JOBS}:job", "--out", "trained")
    return user.home / "trained"
