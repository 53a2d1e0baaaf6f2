"""A new order in every epoch: a permutation whatever the size, as random as a shuffle, and the same in the program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import tallystick as ts
from captured_runs import final
from eager_training import EagerRun
from tallystick.capture.steps.batches import epoch_positions
from tallystick.capture.steps.epochs import epoch_order, ordered
from wrapped_words import Wrapping

LIMIT = 1 << 31
SEED = (0xFFFFFFFE << 32) + 0x80000001  # both words have their highest bit


def order(rows: int, epoch: int, seed: int = 0) -> np.ndarray:
    """All of an epoch. Shape (rows,)."""
    return epoch_order(np.full(rows, epoch), np.arange(rows), rows, seed)


# PERMUTATIONS


@pytest.mark.parametrize("rows", [*range(1, 70), *range(120, 136), 1000, 1023, 1024, 1025, 4099])
def test_every_epoch_has_every_row_once(rows: int) -> None:
    for epoch in (0, 1, 2, 77, LIMIT - 1):
        for seed in (0, (5 << 32) + 1):
            assert (np.sort(order(rows, epoch, seed)) == np.arange(rows)).all()


def test_every_epoch_of_a_million_rows_has_every_row_once() -> None:
    for rows in (1_000_003, (1 << 20) - 1, (1 << 20) + 1):
        assert (np.bincount(order(rows, 3), minlength=rows) == 1).all()


@pytest.mark.parametrize("rows", [LIMIT - 1, LIMIT - 19, (1 << 30) + 1, (1 << 30) - 1, 1 << 30])
def test_no_two_places_of_very_many_share_a_row(rows: int) -> None:
    """All cannot be listed: neighbours at both ends and in the middle, and places all over."""
    spread = np.random.default_rng(0).integers(0, rows, 200_000)
    ends = [np.arange(first, first + 1000) for first in (0, rows // 2, rows - 1000)]
    places = np.unique(np.concatenate([spread, *ends]))
    found = epoch_order(np.full(len(places), 9), places, rows, 4)
    assert found.min() >= 0 and found.max() < rows
    assert len(np.unique(found)) == len(places)


def test_epochs_and_seeds_differ_and_stay_what_they_are() -> None:
    assert (order(100, 0) != order(100, 1)).any()
    assert (order(100, 0, seed=1) != order(100, 0, seed=2)).any()
    assert (order(100, 0, seed=1 << 40) != order(100, 0)).any(), "the upper word counts"
    assert order(10, 0, 7).tolist() == EXPECTED[0] and order(10, 1, 7).tolist() == EXPECTED[1], "jobs depend on it"


EXPECTED = [[9, 5, 6, 8, 4, 7, 2, 1, 0, 3], [5, 4, 2, 6, 7, 9, 3, 0, 8, 1]]


# CHANCE


def far_from_equal(counts: np.ndarray) -> float:
    """How many standard deviations a chi-square statistic lies from where equal chances put it."""
    expected = counts.sum() / len(counts)
    return abs(((counts - expected) ** 2 / expected).sum() - (len(counts) - 1)) / np.sqrt(2 * (len(counts) - 1))


@pytest.mark.parametrize("rows", [6, 10, 100, 127, 128, 129, 1000, 1023])
def test_orders_are_as_random_as_a_shuffle(rows: int) -> None:
    """Every place sees every row; neighbours, and epochs that follow each other, know nothing of each other."""
    epochs = 3000 if rows < 500 else 600
    made = epoch_order(np.repeat(np.arange(epochs), rows), np.tile(np.arange(rows), epochs), rows, 1)
    orders = made.reshape(epochs, rows)
    for place in (0, rows // 2, rows - 1):
        assert far_from_equal(np.bincount(orders[:, place], minlength=rows)) < 5
    for apart in (1, 2, rows // 2):
        distances = (orders[:, apart:] - orders[:, :-apart]) % rows
        assert far_from_equal(np.bincount(distances.reshape(-1), minlength=rows)[1:]) < 5
    moved = (orders[1:] - orders[:-1]) % rows
    assert far_from_equal(np.bincount(moved.reshape(-1), minlength=rows)) < 5
    fixed = (orders == np.arange(rows)).sum(1)
    assert abs(fixed.mean() - 1.0) < 5 / np.sqrt(epochs), "a shuffle leaves one in place, on average"


@pytest.mark.parametrize(("rows", "orders"), [(2, 2), (3, 6), (4, 24), (5, 120), (6, 720)])
def test_all_orders_of_few_rows_come_up_equally_often(rows: int, orders: int) -> None:
    epochs = 20 * orders + 500
    made = epoch_order(np.repeat(np.arange(epochs), rows), np.tile(np.arange(rows), epochs), rows, 3)
    _, counts = np.unique(made.reshape(epochs, rows), axis=0, return_counts=True)
    assert len(counts) == orders
    assert far_from_equal(counts) < 5


# IN THE PROGRAM


@pytest.mark.parametrize(
    ("batch_size", "rows", "steps"),
    [
        (4, 100, 20),
        (4, 10, 20),
        (7, 7, 1000),
        (1, 1, 5),
        (4096, 1_000_003, 2_000_000_000),
        (65_535, 2_147_483_629, LIMIT - 1),
        (100_000, 100_000, LIMIT - 1),
        (3, LIMIT - 1, LIMIT - 1),
        (2, 3, LIMIT - 1),
    ],
)
def test_epochs_and_places_are_exact_in_32_bits(batch_size: int, rows: int, steps: int) -> None:
    for step in {0, 1, steps // 3, steps // 2 + 1, steps - 1}:
        with Wrapping():
            epoch, place = epoch_positions(torch.tensor([step]), batch_size, rows, steps)
        numbers = step * batch_size + np.arange(batch_size, dtype=object)
        assert epoch.tolist() == (numbers // rows).tolist()
        assert place.tolist() == (numbers % rows).tolist()


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 64, 1000, LIMIT - 1, 1 << 30])
def test_the_program_computes_the_same_order(rows: int) -> None:
    """In the specification and the engine, over the end of an epoch."""
    places = (rows - 4 + np.arange(8)) % rows
    epochs = np.where(np.arange(8) < 4, 6, 7) if rows > 4 else np.full(8, 6)

    def step(state: dict[str, Tensor], constants: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"row": ordered(constants["epoch"], constants["place"], rows, SEED)}

    captured = ts.capture_program(
        step, state={"row": np.zeros(8, np.int64)}, constants={"epoch": epochs, "place": places}
    )
    found = final(captured, 1, threads=1)
    assert found["row"].tolist() == epoch_order(epochs, places, rows, SEED).tolist()


def seen(model: nn.Module, x: Tensor, i: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """A loss that records which rows it sees, as far as a number can."""
    return F.mse_loss(model(x), x), {"first": i[0].float(), "sum": (i * torch.arange(1, len(i) + 1)).sum().float()}


def shuffled_job(shuffle: Any, rows: int = 23, batch_size: int = 7, steps: int = 20) -> ts.TrainingJob:
    torch.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((rows, 4), dtype=np.float32)
    return ts.TrainingJob(
        model=nn.Linear(4, 4),
        loss=seen,
        optimizer=ts.optim.AdamW(lr=1e-2),
        data={"x": x, "i": np.arange(rows)},
        batch_size=batch_size,
        steps=steps,
        segment_steps=5,
        seed=3,
        metrics=("first", "sum"),
        shuffle=shuffle,
    )


@pytest.mark.parametrize("shuffle", ["once", "epoch", "none", None])
@pytest.mark.parametrize(("rows", "batch_size"), [(23, 7), (16, 16), (64, 16)])
def test_training_sees_the_rows_that_eager_training_sees(
    shuffle: Any, rows: int, batch_size: int, tmp_path: Path
) -> None:
    job = shuffled_job(shuffle, rows, batch_size)
    eager = EagerRun(
        job.model,
        seen,
        job.optimizer,
        dict(job.data),
        batch_size=batch_size,
        steps=20,
        seed=3,
        metrics=("first", "sum"),
        shuffle=shuffle,
    )
    run = job.run(tmp_path / "run")
    for name in ("first", "sum"):
        assert (run.records[name] == eager.records[name]).all()
    np.testing.assert_allclose(run.losses, eager.losses, rtol=1e-3)
    if rows == 23:
        report = ts.verify(run.folder, full=True)
        assert report.ok, report.findings


def test_epochs_go_on_where_a_run_ended(tmp_path: Path) -> None:
    begun = shuffled_job("epoch", steps=10).run(tmp_path / "begun")
    ended = shuffled_job("epoch").run(tmp_path / "ended", continue_from=begun)
    assert ended.receipt.roots[-1] == shuffled_job("epoch").run(tmp_path / "whole").receipt.roots[-1]


def constants_of(shuffle: Any) -> Iterator[str]:
    yield from shuffled_job(shuffle).capture().constant_names


def test_only_one_fixed_order_is_stored() -> None:
    assert "order" in constants_of("once")
    assert "order" not in constants_of("epoch") and "order" not in constants_of(None)
    programs = {shuffle: shuffled_job(shuffle).job().manifest.id for shuffle in ("once", "epoch", "none", None)}
    assert len(set(programs.values())) == 3 and programs["none"] == programs[None]
    unsaid = shuffled_job("once")
    plain = ts.TrainingJob(**{n: getattr(unsaid, n) for n in unsaid.__dataclass_fields__ if n != "shuffle"})
    assert plain.job().manifest.id == programs["once"], "the default"


@pytest.mark.parametrize("shuffle", ["Epoch", True, False, 1])
def test_other_words_are_refused(shuffle: Any) -> None:
    with pytest.raises(ts.CaptureError, match=r"'once'.*'epoch'.*None"):
        shuffled_job(shuffle).capture()
