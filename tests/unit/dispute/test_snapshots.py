"""States that a player keeps: found again, on disk where memory is short, and gone without a trace."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest

from disputes.stage import torture_stage
from tallystick.dispute import Snapshots
from tallystick.errors import UsageError


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def state(number: int) -> list[np.ndarray]:
    """36 bytes of several types, a scalar among them."""
    return [
        np.full((2, 3), number, np.float32),
        np.array(number, np.int32),
        np.array([True, False]),
        np.full(3, number, np.uint16),
    ]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


def test_the_nearest_state_before(temporary: Path) -> None:
    snapshots = Snapshots()
    for number in (5, 0, 20, 12):
        snapshots.put(number, state(number))
    for wanted, nearest in ((0, 0), (4, 0), (5, 5), (11, 5), (12, 12), (19, 12), (20, 20), (10**9, 20)):
        number, found = snapshots.nearest(wanted)
        assert number == nearest and same(found, state(nearest))
    assert 5 in snapshots and 6 not in snapshots
    assert not list(temporary.iterdir()), "what fits the budget stays in memory"


def test_a_state_is_kept_once() -> None:
    snapshots = Snapshots()
    snapshots.put(0, state(1))
    snapshots.put(0, state(2))
    assert same(snapshots.nearest(0)[1], state(1))


def test_nothing_before_the_first_state() -> None:
    snapshots = Snapshots()
    snapshots.put(3, state(3))
    with pytest.raises(UsageError, match="no state at or before 2"):
        snapshots.nearest(2)


def test_states_beyond_the_budget_go_to_disk(temporary: Path) -> None:
    snapshots = Snapshots(budget=2 * 36)
    for number in range(5):
        snapshots.put(number, state(number))
    (folder,) = temporary.iterdir()
    assert len(list(folder.iterdir())) == 3 * 4, "two states fit, three are written, four slots each"
    for number in range(5):
        found = snapshots.nearest(number)[1]
        assert same(found, state(number))
        assert all(isinstance(array, np.memmap) for array in found) is (number >= 2)
    snapshots.close()
    assert not list(temporary.iterdir())
    for number in range(3):
        snapshots.put(number, state(7 + number))
    assert [same(snapshots.nearest(number)[1], state(7 + number)) for number in range(3)] == [True] * 3
    assert len(list(temporary.iterdir())) == 1, "it can be used again, with its whole budget"
    snapshots.close()
    assert not list(temporary.iterdir())


def test_nothing_is_left_behind_by_who_forgets_to_close(temporary: Path) -> None:
    snapshots = Snapshots(budget=0)
    snapshots.put(0, state(0))
    assert list(temporary.iterdir())
    del snapshots
    gc.collect()
    assert not list(temporary.iterdir())


def test_a_replay_works_from_disk(temporary: Path) -> None:
    """The engine starts from mapped states as from any other."""
    stage = torture_stage()
    on_disk = stage.replay()
    on_disk._snapshots = Snapshots(budget=0)
    on_disk._snapshots.put(0, stage.start)
    assert on_disk.state_roots([2, 5, 3]) == stage.honest.state_roots([2, 5, 3])
    assert on_disk.step_trace(4).trace.root == stage.honest.step_trace(4).trace.root
    assert list(temporary.iterdir())
    on_disk.close()
    assert not list(temporary.iterdir())
