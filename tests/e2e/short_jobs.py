"""Short jobs on real digits, as a user would write them."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

import digits
import tallystick as ts


def job() -> ts.TrainingJob:
    """The example, cut to 24 steps in segments of 4."""
    return dataclasses.replace(digits.job(), name="short", steps=24, segment_steps=4, batch_size=16)


def long() -> ts.TrainingJob:
    """Long enough to be interrupted."""
    return dataclasses.replace(digits.job(), name="long", steps=4000, segment_steps=5, batch_size=16)


def longer() -> ts.TrainingJob:
    """The short job and many steps more; its schedule is over by then."""
    return dataclasses.replace(digits.job(), name="longer", steps=324, segment_steps=5, batch_size=16)


def unseeded() -> ts.TrainingJob:
    """A model that is another one every time."""
    torch.seed()
    return linear(name="unseeded", model=nn.Linear(4, 1))


def linear(**changes: object) -> ts.TrainingJob:
    """A small job with something changed."""
    torch.manual_seed(0)
    x = np.arange(80, dtype=np.float32).reshape(20, 4) / 80
    description: dict = {
        "name": "linear",
        "model": nn.Linear(4, 1),
        "loss": lambda model, x: model(x).square().mean(),
        "optimizer": ts.optim.SGD(lr=0.1),
        "data": {"x": x},
        "batch_size": 5,
        "steps": 6,
        "segment_steps": 2,
    }
    return ts.TrainingJob(**{**description, **changes})


def small() -> ts.TrainingJob:
    return linear()


def other() -> ts.TrainingJob:
    """Another job: one step more."""
    return linear(steps=7)


def zero_steps() -> ts.TrainingJob:
    return linear(steps=0)


def batch_too_large() -> ts.TrainingJob:
    return linear(batch_size=21)


def shapes_do_not_fit() -> ts.TrainingJob:
    return linear(model=nn.Linear(5, 1))


def int64_too_large() -> ts.TrainingJob:
    return linear(
        loss=lambda model, x, y: (model(x) * y).mean(),
        data={"x": np.ones((20, 4), np.float32), "y": np.full((20, 1), 1 << 40, np.int64)},
    )


def loss_becomes_nan() -> ts.TrainingJob:
    return linear(optimizer=ts.optim.SGD(lr=1e30), steps=20)


def unknown_operator() -> ts.TrainingJob:
    return linear(loss=lambda model, x: torch.linalg.svdvals(model(x)).sum())


def raises() -> ts.TrainingJob:
    raise ZeroDivisionError("my own mistake")


def loss_raises() -> ts.TrainingJob:
    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return undefined_name(model(x))  # noqa: F821 # pyright: ignore

    return linear(loss=loss)


def predict(model: nn.Module, scale: float = 1.0) -> dict[str, float]:
    """Two numbers of a trained model."""
    return {"weights": float(sum(weight.numel() for weight in model.parameters())), "scale": scale}


def say(model: nn.Module) -> str:
    return "plain text"


def not_json(model: nn.Module) -> object:
    return object()
