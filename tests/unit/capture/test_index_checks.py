"""An index outside of its table is refused when it can be known, and noted by the program when it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import tallystick as ts
from captured_runs import final
from side_by_side import BATCH, Setup, train_captured
from tallystick.errors import CaptureError, JobError

RNG = np.random.default_rng(0)
TOKENS, LABELS = RNG.integers(0, 10, (32, 5)), RNG.integers(0, 4, 32)


def make() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"embed": nn.Embedding(10, 8), "head": nn.Linear(8, 4)})


def logits(model: Any, t: Tensor) -> Tensor:
    return model["head"](model["embed"](t).mean(1))


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": lambda model, t, y: F.cross_entropy(logits(model, t), y),
    "nll": lambda model, t, y: F.nll_loss(logits(model, t).log_softmax(1), y),
    "gather": lambda model, t, y: -logits(model, t).log_softmax(1).gather(1, y[:, None]).mean(),
    "indexing": lambda model, t, y: -logits(model, t).log_softmax(1)[torch.arange(len(y)), y].mean(),
    "one_hot": lambda model, t, y: F.mse_loss(logits(model, t), F.one_hot(y, 4).float()),
    "scatter": lambda model, t, y: F.mse_loss(logits(model, t), torch.zeros(len(y), 4).scatter(1, y[:, None], 1.0)),
    "index_select": lambda model, t, y: (
        model["head"].weight.index_select(0, y).square().mean() + logits(model, t).sum()
    ),
    "index_add": lambda model, t, y: (torch.zeros(4, 4).index_add(0, y, logits(model, t))).square().mean(),
    "index_put": lambda model, t, y: (
        torch.zeros(4).index_put((y,), logits(model, t).sum(1), accumulate=True).square().mean()
    ),
    "take": lambda model, t, y: model["head"].bias.take(y).square().mean() + logits(model, t).sum(),
}


def changed(array: np.ndarray, at: Any, value: int) -> np.ndarray:
    array = array.copy()
    array[at] = value
    return array


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("label", [4, -1, 255])
def test_a_label_outside_is_refused_with_its_place(kind: str, label: int) -> None:
    data = {"t": TOKENS, "y": changed(LABELS, 3, label)}
    counts_from_the_end = kind in ("indexing", "index_put", "take") and label == -1
    if counts_from_the_end:
        train_captured(Setup(make(), LOSSES[kind]), data)
        return
    with pytest.raises(CaptureError, match=rf"test_index_checks.py:\d+ .*(?s:.*)it is {label} \(data\.y\[3\] is"):
        train_captured(Setup(make(), LOSSES[kind]), data)


@pytest.mark.parametrize("kind", LOSSES)
def test_indices_that_lie_inside_cost_nothing(kind: str) -> None:
    found = train_captured(Setup(make(), LOSSES[kind]), {"t": TOKENS, "y": LABELS}, steps=6)
    assert not any(name.startswith("check.") for name in found)


def test_ignored_labels_are_allowed_also_in_long_jobs_and_behind_padding() -> None:
    def shifted(model: Any, t: Tensor, y: Tensor) -> Tensor:
        following = F.pad(y[:, None].expand(-1, 2), (0, 1), value=-100)[:, 1:]
        return F.cross_entropy(logits(model, t)[:, :, None].expand(-1, -1, 2), following)

    captured = ts.capture_training(
        model=make(),
        loss=shifted,
        optimizer=ts.optim.SGD(0.1),
        data={"t": TOKENS, "y": changed(LABELS, slice(0, 9), -100)},
        batch_size=BATCH,
        steps=10_000,  # more than are computed beforehand
    )
    assert not any(name.startswith("check.") for name in captured.state_names)


def test_a_wrong_number_that_no_step_uses_is_no_fault() -> None:
    data = {"t": changed(TOKENS, (slice(None), 4), 99), "y": LABELS}
    train_captured(Setup(make(), lambda model, t, y: F.cross_entropy(logits(model, t[:, :4]), y)), data)


def test_positions_beyond_their_table_are_refused_and_the_advice_works() -> None:
    class Positions(nn.Module):
        def __init__(self, places: int) -> None:
            super().__init__()
            self.embed, self.place, self.head = nn.Embedding(10, 8), nn.Embedding(places, 8), nn.Linear(8, 4)

        def forward(self, t: Tensor) -> Tensor:
            return self.head((self.embed(t) + self.place(torch.arange(t.shape[1]))).mean(1))

    data = {"t": TOKENS, "y": LABELS}
    with pytest.raises(CaptureError, match=r"forward: .*(?s:.*)is 4, outside of 0 to 3: enlarge the table"):
        train_captured(Setup(Positions(4), lambda model, t, y: F.cross_entropy(model(t), y)), data)
    train_captured(Setup(Positions(5), lambda model, t, y: F.cross_entropy(model(t), y)), data)


def by_weights(model: Any, t: Tensor, y: Tensor) -> Tensor:
    """An index computed from weights that grow: nobody knows beforehand when it leaves the table."""
    place = (model["head"].bias.detach().sum() * 2.0).long().abs()[None]
    return model["embed"].weight[place].square().sum() - model["head"].bias.sum() + 0.0 * logits(model, t).sum()


def test_a_computed_index_is_noted_and_reported(tmp_path: Path) -> None:
    model = make()
    nn.init.zeros_(model["head"].bias)
    job = ts.TrainingJob(
        model=model,
        loss=by_weights,
        optimizer=ts.optim.SGD(0.5),
        data={"t": TOKENS, "y": LABELS},
        batch_size=BATCH,
        steps=40,
    )
    captured = job.capture()
    (name,) = [name for name in captured.state_names if name.startswith("check.")]
    assert "test_index_checks.py" in name and "by_weights" in name and "outside of -10 to 9" in name
    # The bias grows by 0.5 in each of 4 numbers: the sum is 2 s before step s, the place 4 s, outside in step 3.
    after = final(captured, 6)
    assert after[name].tolist() == [4], "1 + the first step; it stays"
    with pytest.raises(JobError, match=r"^step 3: test_index_checks.py:\d+ by_weights.*outside of -10 to 9"):
        job.run(tmp_path / "run")


def test_a_computed_index_that_stays_inside_runs(tmp_path: Path) -> None:
    job = ts.TrainingJob(
        model=make(),
        loss=by_weights,
        optimizer=ts.optim.SGD(0.0),
        data={"t": TOKENS, "y": LABELS},
        batch_size=BATCH,
        steps=5,
    )
    run = job.run(tmp_path / "run")
    assert next(value for name, value in run.state().items() if name.startswith("check.")).tolist() == [0]
    assert ts.verify(tmp_path / "run" / "receipt.json", sample=1.0).ok


def test_a_ring_of_places_in_a_buffer_is_proved_inside() -> None:
    class Queue(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(8, 4)
            self.register_buffer("queue", torch.zeros(6, 4))
            self.register_buffer("at", torch.zeros((), dtype=torch.int64))

        def forward(self, x: Tensor) -> Tensor:
            out = self.body(x).mean(0)
            with torch.no_grad():
                self.queue = self.queue.index_copy(0, self.at[None], out[None])
                self.at = (self.at + 1) % 6
            return (out - self.queue.mean(0)).square().sum()

    found = train_captured(Setup(Queue(), lambda model, x: model(x)), {"x": np.ones((32, 8), np.float32)})
    assert found["model.at"] == 20 % 6 and not any(name.startswith("check.") for name in found)


def test_steps_index_a_table_of_as_many_rows() -> None:
    table = torch.arange(4.0)

    def step(state: dict[str, Tensor], step: Tensor) -> dict[str, Tensor]:
        return {"x": state["x"] + table[step]}

    start = {"x": np.zeros(1, np.float32)}
    assert ts.capture_program(step, state=start, steps=4).state_names == ["x"]
    with pytest.raises(CaptureError, match=r"step goes from 0 to 4"):
        ts.capture_program(step, state=start, steps=5)
    unknown = ts.capture_program(step, state=start)
    assert final(unknown, 6)[unknown.state_names[1]].tolist() == [5], "step 4 was the first outside"


@pytest.mark.parametrize(
    "function",
    [
        lambda y: (y + 1) * 1000003 * 4099 % 7,
        lambda y: ((y + 1) * 10**9).sum()[None] % 7,
        lambda y: ((y + 1) * 10**9).cumsum(0) % 7,
    ],
)
def test_integers_beyond_32_bits_are_refused(function: Callable[[Tensor], Tensor]) -> None:
    def loss(model: Any, t: Tensor, y: Tensor) -> Tensor:
        return logits(model, t).sum() * function(y).sum()

    with pytest.raises(
        CaptureError, match=r"test_index_checks.py:\d+ (?s:.*)have 32 bits.*remainder after every product"
    ):
        train_captured(Setup(make(), loss), {"t": TOKENS, "y": LABELS})
