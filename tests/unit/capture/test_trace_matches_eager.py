"""The traced graph, run with PyTorch's own kernels, trains as eager PyTorch does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from eager_training import GraphRunner, train_eagerly
from sample_models import (
    ConvolutionalNetwork,
    Perceptron,
    Transformer,
    classify,
    images,
    points,
    predict_next,
    texts,
)
from tallystick.capture.optimizers.adam import SGD, Adam, AdamW, Optimizer
from tallystick.capture.optimizers.clipping import clip_by_global_norm
from tallystick.capture.optimizers.schedules import warmup_cosine
from tallystick.capture.training import trace_training

STEPS = 30


class Checkpointed(Perceptron):
    """Runs its first layer again in the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = checkpoint(lambda x: torch.relu(self.first(x)), x, use_reentrant=False)
        return self.second(hidden)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[..., Tensor], dict[str, np.ndarray]]] = {
    "perceptron": (Perceptron, classify, points()),
    "convolutions": (ConvolutionalNetwork, classify, images()),
    "checkpoint": (Checkpointed, classify, points()),
    "transformer": (lambda: Transformer(layers=1), predict_next, texts()),
    "rotary": (lambda: Transformer(layers=1, rotary=True), predict_next, texts()),
}
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(0.05),
    "momentum": SGD(0.05, momentum=0.9, weight_decay=0.01),
    "dampened": SGD(0.05, momentum=0.9, dampening=0.5),
    "nesterov": SGD(0.05, momentum=0.9, nesterov=True, schedule=warmup_cosine(STEPS, 5)),
    "adam": Adam(0.01, weight_decay=0.01),
    "amsgrad": Adam(0.01, betas=(0.4, 0.9), amsgrad=True),
    "adamw": AdamW(0.01, weight_decay=0.1, schedule=warmup_cosine(STEPS, 10, 0.1), clip_norm=0.5),
    "some decay": AdamW(0.01, weight_decay=0.5, decay=lambda name, p: p.ndim >= 2),
}


def compare(model_name: str, optimizer: Optimizer) -> None:
    torch.manual_seed(0)
    make, loss, data = MODELS[model_name]
    model = make()
    job = {"model": model, "loss": loss, "optimizer": optimizer, "data": data, "batch_size": 8, "steps": STEPS}
    runner = GraphRunner(trace_training(**job, seed=3))
    runner.advance(STEPS)
    losses, state = train_eagerly(**job, seed=3)
    np.testing.assert_allclose(runner.losses, losses, rtol=2e-4)
    assert losses[-5:].mean() < losses[:5].mean(), "the test trains something"
    for name, value in state.items():
        # Adam turns the rounding noise of a gradient that is zero (a bias before a normalisation) into whole steps.
        if f"model.{name}" in runner.values and isinstance(optimizer, SGD):
            np.testing.assert_allclose(runner.values[f"model.{name}"].numpy(), value.numpy(), rtol=2e-2, atol=2e-4)


@pytest.mark.parametrize("limit", [0.5, 50.0])
def test_clipping_by_the_global_norm(limit: float) -> None:
    torch.manual_seed(0)
    gradients = {str(i): torch.randn(shape) for i, shape in enumerate([(3, 4), (5,), (), (2, 3, 2)] * 5)}
    parameters = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients.values()]
    for parameter, gradient in zip(parameters, gradients.values(), strict=True):
        parameter.grad = gradient.clone()
    norm = nn.utils.clip_grad_norm_(parameters, limit)
    assert 1.0 < norm < 40.0
    for ours, theirs in zip(clip_by_global_norm(gradients, limit).values(), parameters, strict=True):
        torch.testing.assert_close(ours, theirs.grad)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_updates_as_torch_optim_does(optimizer: str) -> None:
    compare("perceptron", OPTIMIZERS[optimizer])


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_as_in_eager_mode(model: str) -> None:
    compare(model, SGD(0.05, momentum=0.9) if model == "convolutions" else AdamW(3e-3))
