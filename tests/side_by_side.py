"""The same training, in eager PyTorch and as a captured program, for models whose loss reaches more than the model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tallystick import optim
from tallystick.capture import capture_training
from tallystick.capture.optimizers.optimizer import Optimizer
from tallystick.capture.steps.batches import shuffled_order
from tallystick.engine import Engine

STEPS, BATCH = 20, 8
RELATIVE = 1e-3


@dataclass
class Setup:
    """What is trained; ``others`` are modules beside the model, by the names that the loss's code gives them."""

    model: nn.Module
    loss: Callable[..., Any]
    others: dict[str, nn.Module] = field(default_factory=dict)

    def parameters(self) -> list[nn.Parameter]:
        modules = [self.model, *self.others.values()]
        return [p for module in modules for p in module.parameters() if p.requires_grad]

    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers by the names of their slots."""
        named = [("model.", self.model), *((f"loss.{name}.", module) for name, module in self.others.items())]
        return {f"{prefix}{key}": tensor for prefix, module in named for key, tensor in module.state_dict().items()}


def train_eagerly(setup: Setup, data: dict[str, np.ndarray], lr: float = 0.1, steps: int = STEPS) -> np.ndarray:
    """Losses of the ordinary loop, which changes the setup. Shape (steps,)."""
    optimizer = torch.optim.SGD(setup.parameters(), lr=lr)
    rows = len(next(iter(data.values())))
    order = shuffled_order(rows, 0)
    losses = []
    for step in range(steps):
        chosen = order[(step * BATCH + np.arange(BATCH)) % rows]
        value = setup.loss(setup.model, **{name: torch.from_numpy(array[chosen]) for name, array in data.items()})
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return np.array(losses)


def train_captured(
    setup: Setup, data: dict[str, np.ndarray], lr: float = 0.1, steps: int = STEPS, **options: Any
) -> dict[str, np.ndarray]:
    """The final state of the captured program, constants among it, by name; the setup stays as it is."""
    optimizer: Optimizer = options.pop("optimizer", optim.SGD(lr))
    captured = capture_training(
        model=setup.model, loss=setup.loss, optimizer=optimizer, data=data, batch_size=BATCH, steps=steps, **options
    )
    with Engine(captured.program, threads=1).start(captured.state, captured.constants) as session:
        session.advance(steps)
        after = [np.array(array) for array in session.state()]
    constants = zip(captured.constant_names, captured.constants, strict=True)
    return dict(constants) | dict(zip(captured.state_names, after, strict=True))


def assert_same(make: Callable[[], Setup], data: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
    """Both train alike, loss by loss and tensor by tensor, and capturing leaves the user's modules alone."""
    theirs = make()
    before = copy.deepcopy(theirs.state())
    losses = train_eagerly(theirs, data)
    ours = make()
    found = train_captured(ours, data, **options)
    np.testing.assert_allclose(found["record.loss"], losses, rtol=RELATIVE, atol=1e-6)
    for name, tensor in theirs.state().items():
        np.testing.assert_allclose(found[name], tensor.numpy(), rtol=RELATIVE, atol=1e-5, err_msg=name)
    for name, tensor in ours.state().items():
        assert torch.equal(tensor, before[name]), f"{name} of the user's own module was changed"
    return found


def points(rows: int = 32, width: int = 6, classes: int = 3) -> dict[str, np.ndarray]:
    """x: (rows, width) float32, y: (rows,) int64."""
    rng = np.random.default_rng(0)
    return {"x": rng.standard_normal((rows, width), dtype=np.float32) + 1, "y": rng.integers(0, classes, rows)}
