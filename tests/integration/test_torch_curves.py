"""The same numbers as PyTorch: 200 steps on the engine beside 200 steps in eager mode, from one start on one data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eager_training import train_eagerly
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
from tallystick.capture import capture_training
from tallystick.capture.optimizers.adam import SGD, AdamW, Optimizer
from tallystick.capture.optimizers.schedules import warmup_cosine
from tallystick.engine import Engine

STEPS = 200
RELATIVE = 1e-3

Model = tuple[Callable[[], nn.Module], Callable[..., Tensor], dict[str, np.ndarray]]
MODELS: dict[str, Model] = {
    "perceptron": (Perceptron, classify, points()),
    "convolutions": (ConvolutionalNetwork, classify, images()),
    "transformer": (Transformer, predict_next, texts()),
    "rotary transformer": (lambda: Transformer(rotary=True), predict_next, texts()),
}
ADAMW = AdamW(3e-3, weight_decay=0.1, schedule=warmup_cosine(STEPS, 20, 0.1), clip_norm=1.0)
MOMENTUM = SGD(0.05, momentum=0.9, nesterov=True)


def run(job: dict[str, Any], steps: int) -> dict[str, np.ndarray]:
    """The state after some steps on the engine, by name."""
    captured = capture_training(**job)
    engine = Engine(captured.program, threads=1)
    with engine.start(captured.state, captured.constants, step=0) as session:
        session.advance(steps)
        return dict(zip(captured.state_names, session.state(), strict=True))


def job_of(name: str, optimizer: Optimizer, steps: int = STEPS) -> dict[str, Any]:
    torch.manual_seed(0)
    make, loss, data = MODELS[name]
    job = {"model": make(), "loss": loss, "optimizer": optimizer, "data": data}
    return job | {"batch_size": 8, "steps": steps, "seed": 1}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "name, optimizer",
    [(name, ADAMW) for name in MODELS] + [("perceptron", MOMENTUM), ("convolutions", MOMENTUM)],
    ids=[*MODELS, "perceptron by momentum", "convolutions by momentum"],
)
def test_the_loss_curve_is_that_of_eager_pytorch(name: str, optimizer: Optimizer) -> None:
    job = job_of(name, optimizer)
    ours = run(job, STEPS)["record.loss"]
    theirs, _ = train_eagerly(**job)
    assert theirs[-20:].mean() < 0.5 * theirs[:20].mean(), "something is learnt, so that the steps depend on each other"
    np.testing.assert_allclose(ours, theirs, rtol=RELATIVE)


def test_bias_corrections_of_early_steps() -> None:
    """With betas near 1 the first updates are almost all bias correction."""
    job = job_of("perceptron", AdamW(1e-3, betas=(0.99, 0.9999)), 20)
    state = run(job, 20)
    _, theirs = train_eagerly(**job)
    for name, value in theirs.items():
        np.testing.assert_allclose(state[f"model.{name}"], value.numpy(), rtol=1e-4, atol=1e-6)


def test_moments_below_the_normal_numbers() -> None:
    """Squares of tiny gradients are subnormal: whoever flushes them to zero divides by eps alone."""
    parts = job_of("perceptron", AdamW(1e-2, eps=1e-21, weight_decay=0.0), 60)
    job = parts | {"loss": lambda model, x, y: classify(model, x, y) * 1e-18}
    state = run(job, 60)
    moments = state["optimizer.exp_avg_sq.first.weight"]
    assert (moments > 0).mean() > 0.5 and moments.max() < np.finfo(np.float32).tiny
    theirs, _ = train_eagerly(**job)
    assert theirs[-10:].mean() < 0.5 * theirs[:10].mean()
    np.testing.assert_allclose(state["record.loss"], theirs, rtol=2e-2)


def test_running_statistics_are_those_of_eager_pytorch() -> None:
    job = job_of("convolutions", MOMENTUM, 40)
    state = run(job, 40)
    _, theirs = train_eagerly(**job)
    assert int(state["model.norm1.num_batches_tracked"]) == 40
    for name in ("running_mean", "running_var"):
        np.testing.assert_allclose(state[f"model.norm2.{name}"], theirs[f"norm2.{name}"], rtol=1e-3, atol=1e-5)


def test_every_step_is_recorded_and_no_other() -> None:
    losses = run(job_of("perceptron", MOMENTUM, 12), 7)["record.loss"]
    assert (losses[:7] > 0).all() and (losses[7:] == 0).all()


@pytest.mark.slow
def test_curves_of_a_longer_run_at_full_length() -> None:
    """A hundred steps more than the divergences that show only after the fifteenth."""
    for name in ("convolutions", "rotary transformer"):
        job = job_of(name, AdamW(1e-3), 400)
        theirs, _ = train_eagerly(**job)
        np.testing.assert_allclose(run(job, 400)["record.loss"], theirs, rtol=5e-3)
