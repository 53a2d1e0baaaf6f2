"""Writes through views reach what is viewed, also where writing out left the elements in another order in memory.

A scatter that is written out returns its result in strides of its own: what was a view when the user's code ran must
stay one, or the write is lost in a copy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eager_training import train_eagerly
from tallystick.capture.optimizers.adam import SGD
from tallystick.capture.training import capture_training
from tallystick.engine import Engine

STEPS = 3


def a_diagonal_then_a_flat_view(x: Tensor) -> Tensor:
    base = x.clone()
    diagonal = base.diagonal(dim1=1, dim2=2)
    diagonal.masked_fill_(diagonal.detach() > 0.5, 0.5)
    following = torch.tanh(base).clone()
    following.flatten(2, 3).select(2, 2).add_(1.0)
    return following


def both_views_of_one_tensor(x: Tensor) -> Tensor:
    base = x.clone()
    diagonal = base.diagonal(dim1=1, dim2=2)
    diagonal.masked_fill_(diagonal.detach() > 0.5, 0.5)
    base.flatten(2, 3).select(2, 2).add_(1.0)
    return base


def a_flat_view_taken_before(x: Tensor) -> Tensor:
    base = x.clone()
    flat = base.flatten(2, 3)
    base.diagonal(dim1=1, dim2=2).mul_(0.5)
    flat.select(2, 2).add_(1.0)
    return base + flat.sum((1, 2)).view(-1, 1, 1, 1)


def transposed_and_overwritten(x: Tensor) -> Tensor:
    base = x.clone()
    base.transpose(2, 3).copy_(x.sum(1, keepdim=True).transpose(2, 3))
    base.flatten(1).select(1, 0).zero_()
    return base


def strides_over_an_overwritten_tensor(x: Tensor) -> Tensor:
    base = x.clone()
    base.transpose(2, 3).copy_(x.sum(1, keepdim=True).transpose(2, 3))
    return base.as_strided((4, 3, 4, 2), (36, 12, 3, 1)).tanh()


def written_through_strides(x: Tensor) -> Tensor:
    base = x.clone()
    base.diagonal(dim1=1, dim2=2).zero_()
    base.as_strided((4, 3, 4, 2), (36, 12, 3, 1)).mul_(2.0)
    return base


def strides_over_a_tensor_in_another_order(x: Tensor) -> Tensor:
    """In the program every value is row-major; what the strides meant is told from the record."""
    other = x.transpose(2, 3).clone()
    other.diagonal(dim1=2, dim2=3).zero_()
    return other.as_strided((4, 3, 4, 2), (36, 12, 3, 1))


class Net(nn.Module):
    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.then = nn.Linear(5, 3), then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.layer(x))


def weighted(model: nn.Module, x: Tensor) -> Tensor:
    out = model(x)
    return (out * torch.linspace(1.0, 2.0, out[0].numel()).view(out.shape[1:])).square().mean()


def job_of(then: Callable[[Tensor], Tensor]) -> dict:
    torch.manual_seed(0)
    data = {"x": np.random.default_rng(0).standard_normal((12, 3, 4, 5), dtype=np.float32)}
    return {"model": Net(then), "loss": weighted, "optimizer": SGD(0.1), "data": data, "batch_size": 4, "steps": STEPS}


@pytest.mark.parametrize(
    "then",
    [
        a_diagonal_then_a_flat_view,
        both_views_of_one_tensor,
        a_flat_view_taken_before,
        transposed_and_overwritten,
        strides_over_an_overwritten_tensor,
        written_through_strides,
        strides_over_a_tensor_in_another_order,
    ],
)
def test_the_write_reaches_the_tensor(then: Callable[[Tensor], Tensor]) -> None:
    job = job_of(then)
    captured = capture_training(**job)
    with Engine(captured.program, threads=1).start(captured.state, captured.constants) as session:
        session.advance(STEPS)
        ours = dict(zip(captured.state_names, session.state(), strict=True))["record.loss"]
    theirs, _ = train_eagerly(**job)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
