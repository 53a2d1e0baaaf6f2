"""Parameters that a step writes itself: momentum encoders, codebooks, clipped weights."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from side_by_side import Setup, assert_same, points, train_captured
from tallystick import Storage
from tallystick.errors import CaptureError

DATA = points()


def in_place(key: Tensor, query: Tensor) -> None:
    key.mul_(0.5).add_(query, alpha=0.5)


def copied(key: Tensor, query: Tensor) -> None:
    key.copy_(0.5 * key + 0.5 * query)


def by_data(key: Tensor, query: Tensor) -> None:
    key.data = key.data * 0.5 + query.data * 0.5


def into_data(key: Tensor, query: Tensor) -> None:
    key.data.mul_(0.5)
    key.data += 0.5 * query.data


class Follower(nn.Module):
    """A network that is trained towards one that follows it."""

    def __init__(self, write: Callable[[Tensor, Tensor], None]) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.write = write

    @torch.no_grad()
    def follow(self) -> None:
        for key, query in zip(self.key.parameters(), self.query.parameters(), strict=True):
            self.write(key, query)

    def forward(self, x: Tensor) -> Tensor:
        self.follow()
        with torch.no_grad():
            target = F.normalize(self.key(x + 0.1), dim=1)
        return F.cross_entropy(F.normalize(self.query(x), dim=1) @ target.T / 0.2, torch.arange(len(x)))


@pytest.mark.parametrize("write", [in_place, copied, by_data, into_data])
def test_a_frozen_parameter_that_is_written_is_state(write: Callable[[Tensor, Tensor], None]) -> None:
    def make() -> Setup:
        torch.manual_seed(0)
        return Setup(Follower(write), lambda model, x, y: model(x))

    found = assert_same(make, DATA)
    start = make().state()["model.key.0.weight"].numpy()
    assert np.abs(found["model.key.0.weight"] - start).max() > 1e-3


def test_load_state_dict_inside_a_step() -> None:
    class Copying(Follower):
        @torch.no_grad()
        def follow(self) -> None:
            self.key.load_state_dict(self.query.state_dict())

    def make() -> Setup:
        torch.manual_seed(0)
        return Setup(Copying(in_place), lambda model, x, y: model(x))

    assert_same(make, DATA)


class Clipped(nn.Module):
    """A critic whose weights are clipped before they are used, as in Wasserstein GANs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            for p in self.body.parameters():
                p.clamp_(-0.2, 0.2)
        return self.body(x)


def clipped() -> Setup:
    torch.manual_seed(0)
    return Setup(Clipped(), lambda model, x, y: F.cross_entropy(model(x), y))


def test_a_trained_parameter_that_is_written() -> None:
    assert_same(clipped, DATA)


def test_a_trained_parameter_that_is_written_and_stored_narrow() -> None:
    found = train_captured(clipped(), DATA, storage=Storage(trained="bf16"))
    wide = train_captured(clipped(), DATA)
    np.testing.assert_allclose(found["record.loss"], wide["record.loss"], rtol=3e-2)
    assert found["model.body.weight"].dtype == np.uint16


@pytest.mark.parametrize(
    ("setup", "storage", "message"),
    [
        (clipped, Storage(trained="bf16", master=True), "writes model.body.weight.*leave master out"),
        (
            lambda: Setup(Follower(in_place), lambda model, x, y: model(x)),
            Storage(frozen="bf16"),
            r"writes model.key.0.weight.*make it a buffer, or leave frozen out",
        ),
    ],
)
def test_what_storage_cannot_keep_is_refused(setup: Callable[[], Setup], storage: Storage, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        train_captured(setup(), DATA, storage=storage)


def test_two_parameters_made_one_are_refused() -> None:
    def alias(key: Tensor, query: Tensor) -> None:
        key.data = query.data

    with pytest.raises(CaptureError, match=r"memory of another parameter.*\.clone\(\)"):
        train_captured(Setup(Follower(alias), lambda model, x, y: model(x)), DATA)

    def separate(key: Tensor, query: Tensor) -> None:
        key.data = query.data.clone()

    train_captured(Setup(Follower(separate), lambda model, x, y: model(x)), DATA)


def test_another_shape_is_refused() -> None:
    def grow(key: Tensor, query: Tensor) -> None:
        key.data = torch.zeros(99)

    with pytest.raises(CaptureError, match="a state keeps its type"):
        train_captured(Setup(Follower(grow), lambda model, x, y: model(x)), DATA)


def test_weights_exchanged_for_a_moment_and_put_back() -> None:
    """What else sees the old memory keeps it, as with ``.data`` in eager PyTorch."""

    class Merging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Linear(6, 3).requires_grad_(False)
            self.a, self.b = nn.Linear(6, 2, bias=False), nn.Linear(2, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            kept = self.base.weight.data
            self.base.weight.data = kept + self.b.weight.data @ self.a.weight.data
            out = self.base(x)
            self.base.weight.data = kept
            return out + self.b(self.a(x))

    def make() -> Setup:
        torch.manual_seed(0)
        return Setup(Merging(), lambda model, x, y: F.cross_entropy(model(x), y))

    found = assert_same(make, DATA)
    assert (found["model.base.weight"] == make().state()["model.base.weight"].numpy()).all()
