"""What people's models do that a tracer stumbles over, and that is captured as it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lowered_operators import compare, gradients
from tallystick.capture.optimizers.adam import SGD
from tallystick.capture.training import trace_training
from tallystick.errors import CaptureError

X = torch.linspace(-1, 1, 2 * 3 * 4).reshape(2, 3, 4)


def pools_channels_last(x: Tensor) -> Tensor:
    """Where channels are the last in memory, PyTorch sets the strides of the result by hand."""
    return F.adaptive_avg_pool1d(x.transpose(1, 2), 1).squeeze(2)


def adds_what_was_cut_apart(x: Tensor) -> Tensor:
    """The gradient of both parts is viewed in a way that only one order of memory allows."""
    heads = F.linear(x, torch.ones(4, 4)).view(2, 3, 2, 2)
    whole = torch.cat([heads[..., :1].tanh(), heads[..., 1:]], -1).permute(0, 2, 1, 3)
    return torch.ones(2, 2, 3, 2) @ whole.transpose(-1, -2)


def writes_through_strides(x: Tensor) -> Tensor:
    grown = x * 1.0
    grown.as_strided((2, 2), (5, 2), 1).copy_(x[0, :2, :2].square())
    return grown


@pytest.mark.parametrize("model", [pools_channels_last, adds_what_was_cut_apart, writes_through_strides])
def test_orders_of_memory_have_no_meaning(model: Callable[[Tensor], Tensor]) -> None:
    compare(gradients(model), X.clone().requires_grad_())


class Converting(nn.Module):
    """Asks for a dtype each time it runs, as routers of experts do."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer, self.dtype = nn.Linear(4, 2), dtype

    def forward(self, x: Tensor) -> Tensor:
        self.layer = self.layer.to(self.dtype)
        return self.layer(x.to(self.dtype)).float().mean()


def capture(model: nn.Module) -> None:
    data = {"x": np.ones((3, 4), np.float32)}
    loss, optimizer = (lambda model, x: model(x)), SGD(0.1)
    trace_training(model=model, loss=loss, optimizer=optimizer, data=data, batch_size=2, steps=2)


def test_a_conversion_to_what_a_module_is_already() -> None:
    model = Converting(torch.float32)
    weight = model.layer.weight
    convert = nn.Module._apply
    capture(model)
    assert model.layer.weight is weight and nn.Module._apply is convert


def test_a_conversion_that_changes_something_is_refused() -> None:
    with pytest.raises(
        CaptureError, match=r"Linear is converted inside the step at test_trace_ways.*before it is captured"
    ):
        capture(Converting(torch.bfloat16))
