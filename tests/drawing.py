"""What random operators draw in captured training steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from eager_training import GraphRunner
from tallystick.capture.optimizers.adam import SGD
from tallystick.capture.tracing.trace import Trace
from tallystick.capture.training import trace_training

Draw = Callable[[Tensor], Tensor]


class Noisy(nn.Module):
    """Carries what it drew last in a buffer."""

    def __init__(self, draw: Draw, elements: int) -> None:
        super().__init__()
        self.draw = draw
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("drawn", torch.zeros(elements))

    def forward(self, x: Tensor) -> Tensor:
        self.drawn = self.draw(self.drawn)
        return self.weight * x.mean() + 0.0 * self.drawn.sum()


def drawing_step(draw: Draw, elements: int, steps: int = 1, seed: int = 5) -> Trace:
    """A step that draws; ``draw`` gets the buffer of what was drawn last, shape (elements,), and returns the next."""
    return trace_training(
        model=Noisy(draw, elements),
        loss=lambda model, x: model(x),
        optimizer=SGD(0.0),
        data={"x": np.ones((1, 1), np.float32)},
        batch_size=1,
        steps=steps,
        seed=seed,
    )


def draws(draw: Draw, elements: int = 40_001, steps: int = 1, seed: int = 5) -> np.ndarray:
    """What a draw yields in each of some steps, shape (steps, elements)."""
    runner = GraphRunner(drawing_step(draw, elements, steps, seed))
    rows = []
    for _ in range(steps):
        runner.advance(1)
        rows.append(runner.values["model.drawn"].numpy())
    return np.stack(rows)
