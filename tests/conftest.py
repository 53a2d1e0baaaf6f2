"""What all tests share."""

from __future__ import annotations

import signal
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


@pytest.fixture(autouse=True, scope="session")
def heeds_ctrl_c() -> Iterator[None]:
    """Tests press Ctrl-C, in this process and in those they start, which inherit that it is ignored.

    So it is where a shell without a terminal runs the tests in the background.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
