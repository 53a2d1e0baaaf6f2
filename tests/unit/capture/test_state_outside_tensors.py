"""What Python keeps from step to step is refused with advice that works; what stays the same is allowed."""

from __future__ import annotations

import itertools
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from side_by_side import Setup, assert_same, points, train_captured
from tallystick.errors import CaptureError

DATA = points()
TOTAL = 0
STREAM = np.random.default_rng(0)


class Stateful(nn.Module):
    """A linear model whose loss is weighed by something that Python keeps."""

    def __init__(self, weight: Callable[[Any], Any]) -> None:
        super().__init__()
        self.body, self.weigh = nn.Linear(6, 3), weight
        self.seen, self.history, self.recent, self.notes = 0, [], deque(maxlen=9), {}
        self.generator, self.numbers = random.Random(0), itertools.count(1)
        self.last: Tensor | None = None
        self.bank = torch.ones(3)
        self.array = np.ones(1, np.float32)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.body(x), y) * self.weigh(self)


def counted(model: Stateful) -> float:
    model.seen += 1
    return min(1.0, model.seen / 20)


def counted_by_a_threshold(model: Stateful) -> float:
    """The first two steps are alike: only the counter itself gives it away."""
    model.seen += 1
    return 1.0 if model.seen < 10 else 0.1


def listed(model: Stateful) -> float:
    model.history.append(1)
    return len(model.history) / 20


def queued(model: Stateful) -> float:
    model.recent.append(len(model.recent))
    return sum(model.recent) / 9


def noted(model: Stateful) -> float:
    model.notes["steps"] = model.notes.get("steps", 0) + 1
    return 1.0


def globally(model: Stateful) -> float:
    global TOTAL
    TOTAL += 1
    return 1.0


def of_a_class(model: Stateful) -> float:
    Counter.count += 1
    return 1.0


class Counter:
    count = 0


def added_to_a_class(model: Stateful) -> float:
    Counter.added = getattr(Counter, "added", 0) + 1
    return 1.0


def added_globally(model: Stateful) -> float:
    global ADDED
    ADDED = globals().get("ADDED", 0) + 1
    return 1.0


def in_numpy_memory(model: Stateful) -> Tensor:
    model.array += 1
    return torch.tensor(float(model.array[0]))


def last_activation(model: Stateful) -> Tensor:
    before, model.last = model.last, model.body.weight.detach().mean() ** 2
    return 1.0 + (torch.zeros(()) if before is None else before)


def moved_bank(model: Stateful) -> Tensor:
    model.bank = 0.9 * model.bank + 0.1 * model.body.weight.detach().mean()
    return model.bank.mean()


def bank_in_place(model: Stateful) -> Tensor:
    with torch.no_grad():
        model.bank.mul_(0.9)
    return model.bank.mean()


def view_of_a_bank(model: Stateful) -> Tensor:
    model.bank[1:].data.fill_(0.5)
    return model.bank.mean()


STATEFUL: dict[str, tuple[Callable[[Any], Any], str]] = {
    "counter": (counted, r"model\.seen \(1, then 2\).*register_buffer"),
    "threshold": (counted_by_a_threshold, r"model\.seen"),
    "list": (listed, r"model\.history \(1 elements, then 2 elements\)"),
    "deque": (queued, r"model\.recent"),
    "dict": (noted, r"model\.notes\.steps \(1, then 2\)"),
    "global": (globally, r"TOTAL"),
    "class attribute": (of_a_class, r"count"),
    "numpy memory": (in_numpy_memory, r"model\.array"),
    "tensor attribute": (last_activation, r"model\.last to a tensor.*register_buffer"),
    "running tensor": (moved_bank, r"model\.bank to a tensor.*register_buffer"),
    "tensor written in place": (bank_in_place, r"writes into model\.bank.*register_buffer"),
    "view of a tensor written": (view_of_a_bank, r"writes into .*register_buffer"),
    "random": (lambda model: random.random(), r"draws random numbers from random,.*torch\.rand"),
    "numpy.random": (lambda model: float(np.random.rand()), r"numpy\.random,.*torch\.rand"),
    "a generator of its own": (lambda model: model.generator.random(), r"model\.generator,.*torch\.rand"),
    "a global generator": (lambda model: STREAM.random(), r"STREAM,.*torch\.rand"),
    "an unseeded generator": (lambda model: np.random.default_rng().random(), r"runs a second time"),
    "an iterator": (lambda model: next(model.numbers), r"next element of model\.numbers.*into the data"),
    "new class attribute": (added_to_a_class, r"Counter\.added"),
    "new global": (added_globally, r"ADDED"),
    "a clock": (lambda model: time.perf_counter(), r"runs a second time.*clock"),
}


@pytest.mark.parametrize("kind", STATEFUL)
def test_what_python_keeps_is_refused(kind: str) -> None:
    weigh, message = STATEFUL[kind]
    model = Stateful(weigh)
    states = random.getstate(), np.random.get_state()[1].tolist(), TOTAL, Counter.count
    kept = (model.seen, list(model.history), list(model.recent), dict(model.notes), model.last)
    bank, values, array = model.bank, model.bank.clone(), model.array.copy()
    with pytest.raises(CaptureError, match=f"(?s){message}"):
        train_captured(Setup(model, lambda model, x, y: model(x, y)), DATA)
    assert (random.getstate(), np.random.get_state()[1].tolist(), TOTAL, Counter.count) == states
    assert (model.seen, list(model.history), list(model.recent), dict(model.notes), model.last) == kept
    assert not hasattr(Counter, "added") and "ADDED" not in globals()
    assert model.bank is bank and torch.equal(model.bank, values) and (model.array == array).all()


class Counting(nn.Module):
    """What the messages advise: a buffer that counts, and draws of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 3)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("bank", torch.ones(3))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.count += 1
        self.bank = 0.9 * self.bank + 0.1 * self.body.weight.detach().mean()
        return F.cross_entropy(self.body(x), y) * (self.count / 20).clamp(max=1.0) * self.bank.mean()


def test_buffers_do_what_is_advised() -> None:
    def make() -> Setup:
        torch.manual_seed(0)
        return Setup(Counting(), lambda model, x, y: model(x, y))

    assert assert_same(make, DATA)["model.count"] == 20


def test_draws_of_pytorch_do_what_is_advised() -> None:
    found = train_captured(Setup(Stateful(lambda model: torch.rand(())), lambda model, x, y: model(x, y)), DATA)
    assert len(set(found["record.loss"].tolist())) == 20


def seeded(model: Stateful) -> float:
    random.seed(3)
    np.random.seed(4)
    return random.random() + float(np.random.rand()) + np.random.default_rng(5).random()


def kept_for_later(model: Stateful) -> float:
    model.last = model.body.weight * 2.0  # looked at after training, never in a step
    return 1.0


def table_made_once(model: Stateful) -> Tensor:
    if "table" not in model.notes:
        model.notes["table"] = torch.linspace(0.5, 1.5, 3)
        model.seen = 3
    return model.notes["table"].mean()


@pytest.mark.parametrize("weigh", [seeded, kept_for_later, table_made_once])
def test_what_is_the_same_in_every_step_is_allowed(weigh: Callable[[Any], Any]) -> None:
    def make() -> Setup:
        torch.manual_seed(0)
        return Setup(Stateful(weigh), lambda model, x, y: model(x, y))

    assert_same(make, DATA)


def test_a_first_step_that_differs_is_refused() -> None:
    def started(model: Stateful) -> Any:
        if model.seen == 0:
            model.seen = 1
            return 3.0
        return 1.0

    with pytest.raises(CaptureError, match="runs a second time"):
        train_captured(Setup(Stateful(started), lambda model, x, y: model(x, y)), DATA)


def test_a_table_made_of_weights_is_no_table() -> None:
    def cached(model: Stateful) -> Tensor:
        if model.last is None:
            model.last = model.body.weight.detach().abs().mean()
        return model.last

    with pytest.raises(CaptureError, match=r"model\.last to a tensor"):
        train_captured(Setup(Stateful(cached), lambda model, x, y: model(x, y)), DATA)
