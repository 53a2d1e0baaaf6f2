"""What eager PyTorch refuses for the dtypes of its operands is refused by capture, with the user's line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tallystick.capture.optimizers.adam import SGD
from tallystick.capture.training import trace_training
from tallystick.errors import CaptureError

REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "a float minus a mask": lambda x: x - (x > 0),
    "one minus a mask": lambda x: x * (1 - (x > 0)),
    "a mask minus a number": lambda x: x * ((x > 0) - 0.5),
    "a mask subtracted in place": lambda x: x.clone().sub_(x.detach() > 0),
    "a linear layer with weights of another dtype": lambda x: F.linear(x, torch.ones(4, 4).half(), torch.ones(4)),
    "binary cross-entropy of whole numbers": lambda x: F.binary_cross_entropy(x.sigmoid(), torch.ones(x.shape).long()),
}


class Net(nn.Module):
    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.then = nn.Linear(3, 4), then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.layer(x))


@pytest.mark.parametrize("name", REFUSED)
def test_what_eager_pytorch_refuses_is_refused(name: str) -> None:
    x = np.ones((8, 3), np.float32)
    with pytest.raises(RuntimeError):
        Net(REFUSED[name])(torch.from_numpy(x))
    loss = lambda model, x: model(x).square().mean()  # noqa: E731
    job = {"optimizer": SGD(0.1), "data": {"x": x}, "batch_size": 4, "steps": 2}
    with pytest.raises(CaptureError, match=r"test_operands\.py:\d+ (<lambda>|linear|binary)"):
        trace_training(model=Net(REFUSED[name]), loss=loss, **job)


def test_what_it_allows_is_recorded_as_it_is() -> None:
    allowed = lambda x: (x - 1) + (2 - x) + (~(x > 0)) + torch.sub(x, x.detach(), alpha=2) + x.long()  # noqa: E731
    loss = lambda model, x: model(x).square().mean()  # noqa: E731
    x = np.ones((8, 3), np.float32)
    traced = trace_training(model=Net(allowed), loss=loss, optimizer=SGD(0.1), data={"x": x}, batch_size=4, steps=2)
    assert traced.graph.find_nodes(op="call_function", target=torch.ops.aten.sub.Tensor)
