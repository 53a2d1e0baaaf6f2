"""Hooks on gradients of parameters run as eager PyTorch runs them, or are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from side_by_side import Setup, assert_same, points, train_captured
from tallystick.errors import CaptureError

DATA = points()
MASK = torch.tensor([1.0, 0.0, 1.0]).unsqueeze(1)


def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def after_accumulation(p: Tensor) -> None:
    assert p.grad is not None
    p.grad.mul_(MASK)


def replaced_after_accumulation(p: Tensor) -> None:
    assert p.grad is not None
    p.grad = p.grad * MASK


HOOKS: dict[str, Callable[[nn.Linear], object]] = {
    "on the gradient": lambda layer: layer.weight.register_hook(lambda gradient: gradient * MASK),
    "two": lambda layer: [
        layer.weight.register_hook(lambda g: g * MASK),
        layer.weight.register_hook(lambda g: g + 0.1),
    ],
    "one that only looks": lambda layer: layer.weight.register_hook(lambda gradient: None),
    "after accumulation": lambda layer: layer.weight.register_post_accumulate_grad_hook(after_accumulation),
    "replacing it": lambda layer: layer.weight.register_post_accumulate_grad_hook(replaced_after_accumulation),
    "of the module": lambda layer: layer.register_full_backward_hook(lambda m, before, after: (before[0],)),
}


@pytest.mark.parametrize("kind", HOOKS)
def test_hooks_run(kind: str) -> None:
    def make() -> Setup:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 3))
        HOOKS[kind](model[1])
        return Setup(model, loss)

    found = assert_same(make, DATA)
    if kind in ("on the gradient", "after accumulation", "replacing it"):
        start = make().state()["model.1.weight"].numpy()
        assert (found["model.1.weight"][1] == start[1]).all() and (found["model.1.weight"][0] != start[0]).any()


def test_hooks_see_every_batch_under_accumulation() -> None:
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    model.weight.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))
    found = train_captured(Setup(model, loss), DATA, accumulate=2)
    moved = np.abs(found["model.weight"] - model.weight.detach().numpy()).max()
    assert 0 < moved <= 0.1 * 0.01 * 20 + 1e-6


def test_a_hook_that_would_see_a_sum_is_refused_and_the_advice_works() -> None:
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    handle = model.weight.register_post_accumulate_grad_hook(after_accumulation)
    with pytest.raises(CaptureError, match=r"post-accumulate hook.*Use register_hook"):
        train_captured(Setup(model, loss), DATA, accumulate=2)
    handle.remove()
    model.weight.register_hook(lambda gradient: gradient * MASK)
    train_captured(Setup(model, loss), DATA, accumulate=2)


def test_hooks_that_pile_up_are_refused() -> None:
    class Registering(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            self.weight.register_hook(lambda gradient: gradient * 0.5)
            return super().forward(input)

    with pytest.raises(CaptureError, match=r"registers a hook on the gradient of weight.*once"):
        train_captured(Setup(Registering(6, 3), loss), DATA)


def test_a_loss_that_calls_backward_is_refused() -> None:
    def twice(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        F.cross_entropy(model(x), y).backward()
        return F.cross_entropy(model(x), y)

    with pytest.raises(CaptureError, match=r"calls backward\(\) itself.*return the sum"):
        train_captured(Setup(nn.Linear(6, 3), twice), DATA)


def test_a_gradient_of_the_step_before_is_refused_and_the_advice_works() -> None:
    def before(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        slope = 0.0 if model.weight.grad is None else model.weight.grad.norm()
        return F.cross_entropy(model(x), y) + slope

    def now(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        model.zero_grad()
        value = F.cross_entropy(model(x), y)
        (slope,) = torch.autograd.grad(value, model.weight, create_graph=True)
        return value + slope.norm()

    with pytest.raises(CaptureError, match=r"test_gradient_hooks.py:\d+ before(?s:.*)torch\.autograd\.grad"):
        train_captured(Setup(nn.Linear(6, 3), before), DATA)
    torch.manual_seed(0)
    start = nn.Linear(6, 3).state_dict()

    def make() -> Setup:
        model = nn.Linear(6, 3)
        model.load_state_dict(start)
        return Setup(model, now)

    assert_same(make, DATA)


def test_a_loss_that_switches_gradients_off_is_refused() -> None:
    def switching(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        model.bias.requires_grad_(False)
        return F.cross_entropy(model(x), y)

    with pytest.raises(CaptureError, match=r"gradient of bias off.*before the job is made"):
        train_captured(Setup(nn.Linear(6, 3), switching), DATA)
