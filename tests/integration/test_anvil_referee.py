"""The referee contract on a real node, over JSON-RPC."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from anvil_process import anvil
from referee_behaviour import RefereeBehaviour
from tallystick.chain.connection import Chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with anvil(tmp_path_factory.mktemp("anvil")) as url:
        yield Chain.connect(url)


class TestRefereeOnAnvil(RefereeBehaviour):
    pass
