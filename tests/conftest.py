"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A machine that is busy with other things must not fail a test.
settings.register_profile("tallystick", deadline=None)
settings.load_profile("tallystick")

# Tests that several files inherit; without this a failed assertion there would not say what it compared.
pytest.register_assert_rewrite("chain_behaviour", "referee_behaviour")


@pytest.fixture(autouse=True, scope="session")
def own_signing_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tests sign with a key of their own and never touch the user's."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLYSTICK_HOME", str(folder))
        yield folder
