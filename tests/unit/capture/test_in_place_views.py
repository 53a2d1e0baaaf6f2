"""Writes into views, whatever order their memory has: chains of views and writes at random, beside eager PyTorch."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from eager_training import GraphRunner
from lowered_operators import capture_function, gradients, run_function
from tallystick.errors import CaptureError

CHAINS = 150


def made_at_random(x: Tensor, rng: random.Random) -> Tensor:
    """A tensor that nobody else sees, in one of the memory orders that operators make."""
    order = rng.sample(range(3), 3)
    matrices = x.permute(order)
    kinds: list[Callable[[], Tensor]] = [
        lambda: x * 1.5,
        lambda: matrices * 1.5,
        lambda: matrices.contiguous().transpose(0, 2) + 0.5,
        lambda: torch.einsum("abc,dbc->bad", x, x.flip(0)),
        lambda: torch.einsum("abc,abd->cad", x, x),
        lambda: (x.unsqueeze(0) + 1.0).contiguous(memory_format=torch.channels_last) * 0.5,
        lambda: torch.cat([matrices, matrices.flip(1)], 1),
        lambda: matrices.clone(),
        lambda: torch.bmm(x, x.transpose(1, 2)).transpose(0, 1),
        lambda: matrices.cumsum(1),
        lambda: torch.zeros_like(matrices) + matrices,
    ]
    return rng.choice(kinds)()


def viewed_at_random(x: Tensor, rng: random.Random) -> Tensor:
    """One view of a tensor; the tensor itself where this kind of view is not possible."""
    d = rng.randrange(x.dim()) if x.dim() else None
    if d is None:
        return x
    other = rng.randrange(x.dim())
    n = x.shape[d]
    start = rng.randrange(n)
    split = [s for s in range(2, n) if n % s == 0]
    kinds: list[Callable[[], Tensor]] = [
        lambda: x.transpose(d, other),
        lambda: x.permute(rng.sample(range(x.dim()), x.dim())),
        lambda: x.narrow(d, start, n - start),
        lambda: x.select(d, start),
        lambda: x[(slice(None),) * d + (slice(start, None, rng.choice([1, 2, 3])),)],
        lambda: x.unsqueeze(d),
        lambda: x.squeeze(),
        lambda: x.diagonal(rng.choice([-1, 0, 1]), d, other) if d != other and min(n, x.shape[other]) > 2 else x,
        lambda: x.unflatten(d, (-1, rng.choice(split))) if split else x,
        lambda: x.chunk(2, d)[-1] if rng.random() < 0.1 else x.narrow(d, 0, n - n // 2),
        lambda: x.detach().requires_grad_(False) if rng.random() < 0.1 and not x.requires_grad else x,
        lambda: x.view(-1) if x.is_contiguous() else x,
        lambda: x.flatten() if x.is_contiguous() else x,
        lambda: x.unfold(d, 2, 2) if n >= 2 else x,
        lambda: x.as_strided(x.shape, x.stride()),
        lambda: x.movedim(d, other),
        lambda: x.view_as(x),
        lambda: x.T if x.dim() == 2 else x,
    ]
    return rng.choice(kinds)()


def write_at_random(view: Tensor, value: Tensor, rng: random.Random) -> None:
    """One in-place operator on a view. ``value`` is of one element and depends on the input."""
    kinds: list[Callable[[], Any]] = [
        lambda: view.mul_(0.5),
        lambda: view.add_(value),
        lambda: view.copy_(view.detach().flip(0) * value if view.dim() else value),
        lambda: view.sub_(view.detach().cos()),
        lambda: view.fill_(0.25),
        lambda: view.zero_(),
        lambda: view.tanh_(),
        lambda: view.relu_(),
        lambda: view.clamp_(-0.5, 0.75),
        lambda: view.masked_fill_(view.detach() > 0.3, 0.1),
        lambda: view.index_fill_(0, torch.tensor([0]), 0.3) if view.dim() else view.neg_(),
        lambda: view.__setitem__(0, value) if view.dim() else view.neg_(),
        lambda: view.div_(2.0 + view.detach().square()),
        lambda: view.addcmul_(view.detach().clone(), value.detach()),
    ]
    rng.choice(kinds)()


def chain(seed: int) -> Callable[[Tensor], Tensor]:
    """A function of a tensor that makes another, writes into views of it, and reads what was written."""

    def function(x: Tensor) -> Tensor:
        rng = random.Random(seed)
        whole = made_at_random(x, rng)
        seen = [whole]
        for _ in range(rng.randint(1, 4)):
            view = rng.choice(seen)
            for _ in range(rng.randint(0, 4)):
                view = viewed_at_random(view, rng)
                if rng.random() < 0.4:
                    seen.append(view)
            write_at_random(view, x.mean(), rng)
        weights = torch.arange(1.0, 1.0 + whole.numel()).reshape(whole.shape).cos()
        return (whole * weights).sum() + sum((view.square().sum() for view in seen[1:]), torch.zeros(()))

    return function


def of_the_graph(function: Callable[..., Any], *tensors: Tensor) -> list[np.ndarray]:
    """The results of the traced graph by PyTorch's kernels."""
    traced, _ = capture_function(function, *tensors)
    runner = GraphRunner(traced)
    runner.advance(1)
    return [runner.values[name].numpy() for name in sorted(runner.values) if name.startswith("result.")]


@pytest.mark.parametrize("seed", range(CHAINS))
def test_writes_through_chains_of_views_are_those_of_eager_pytorch(seed: int) -> None:
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, 6, 4), dtype=np.float32)).requires_grad_()
    function = gradients(chain(seed))
    try:
        expected = function(x)
    except RuntimeError as error:
        # Eager PyTorch refuses some writes (to what autograd still needs, to views of unbind): so do we.
        with pytest.raises((CaptureError, RuntimeError)):
            capture_function(function, x)
        pytest.skip(f"eager PyTorch: {error}"[:100])
    for ours, theirs in zip(of_the_graph(function, x), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_writes_into_windows_without_gaps_work_and_others_are_refused() -> None:
    def between(x: Tensor) -> Tensor:
        y = x * 1.0
        y.unfold(1, 2, 3)[..., 1].mul_(3.0)
        return y

    x = torch.arange(12.0).reshape(2, 6)
    np.testing.assert_array_equal(run_function(between, x)[0], between(x))

    def overlapping(x: Tensor) -> Tensor:
        y = x * 1.0
        y.unfold(1, 3, 1)[..., 0] = 7.0
        return y

    with pytest.raises(CaptureError, match=r"y.unfold\(1, 3, 1\)[^\n]*\n  writes into windows"):
        run_function(overlapping, x)


def test_a_write_into_an_expanded_tensor_is_refused_as_in_eager_pytorch() -> None:
    x = torch.arange(3.0)
    with pytest.raises(RuntimeError, match="more than one element"):
        (x * 1.0).expand(2, 3).mul_(2.0)
    with pytest.raises((RuntimeError, CaptureError), match=r"share memory|more than one element"):
        capture_function(lambda x: (x * 1.0).expand(2, 3).mul_(2.0), x)


def test_gradients_of_writes_into_tensors_in_another_order_of_memory() -> None:
    """The gradient of the memory is told by the strides that the tensor had, not by its shape."""

    def function(x: Tensor) -> Tensor:
        y = x.view(2, 2, 2, 3).contiguous(memory_format=torch.channels_last) * 2.0
        y[:, 0, :, 1:].mul_(y[:, 1, :, 1:].detach().clone())
        return (y * torch.arange(24.0).reshape(y.shape)).sum()

    x = torch.arange(24.0).reshape(4, 6).sin().requires_grad_()
    for ours, theirs in zip(run_function(gradients(function), x), gradients(function)(x), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
