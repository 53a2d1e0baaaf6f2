"""Several optimizers, and several losses in turn, train as the ordinary loops with ``torch.optim`` do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import tallystick as ts
from tallystick import Storage, optim
from tallystick.capture import capture_training
from tallystick.capture.steps.batches import shuffled_order
from tallystick.engine import Engine
from tallystick.errors import CaptureError

STEPS, BATCH, ROWS = 40, 8, 32
DATA = {"x": np.random.default_rng(0).standard_normal((ROWS, 6), dtype=np.float32)}
BETAS = (0.5, 0.999)


class Adversaries(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(6, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 6))
        self.critic = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))


def adversaries() -> Adversaries:
    torch.manual_seed(0)
    return Adversaries()


def critics(model: Any, x: Tensor) -> Tensor:
    fake = model.generator(x.roll(1, 0)).detach()
    return F.softplus(-model.critic(x)).mean() + F.softplus(model.critic(fake)).mean()


def generators(model: Any, x: Tensor) -> Tensor:
    return F.softplus(-model.critic(model.generator(x.roll(1, 0)))).mean()


def clipped_critics(model: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        for p in model.critic.parameters():
            p.clamp_(-0.1, 0.1)
    return model.critic(model.generator(x)).mean() - model.critic(x).mean()


def wasserstein(model: Any, x: Tensor) -> Tensor:
    return -model.critic(model.generator(x)).mean()


def penalised(model: Any, x: Tensor) -> Tensor:
    value = clipped_critics(model, x)
    between = (0.5 * x + 0.5 * model.generator(x)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(model.critic(between).sum(), between, create_graph=True)
    return value + (slope.norm(dim=1) - 1.0).square().mean()


Losses = dict[str, Callable[..., Tensor]]


def eager(losses: Losses, accumulate: int = 1) -> tuple[dict[str, list[float]], dict[str, Tensor]]:
    """The ordinary adversarial loop."""
    model = adversaries()
    optimizers = {n: torch.optim.Adam(getattr(model, n).parameters(), lr=1e-3, betas=BETAS) for n in losses}
    records: dict[str, list[float]] = {name: [] for name in losses}
    order = shuffled_order(ROWS, 0)
    for step in range(STEPS):
        x = torch.from_numpy(DATA["x"][order[(step * BATCH + np.arange(BATCH)) % ROWS]])
        for name, loss in losses.items():
            value = loss(model, x)
            own = list(getattr(model, name).parameters())
            for p, gradient in zip(own, torch.autograd.grad(value / accumulate, own), strict=True):
                p.grad = gradient if p.grad is None else p.grad + gradient
            records[name].append(value.item())
            if (step + 1) % accumulate == 0:
                optimizers[name].step()
                optimizers[name].zero_grad()
    return records, model.state_dict()


def ours(losses: Any, optimizer: Any, model: nn.Module, **options: Any) -> dict[str, np.ndarray]:
    captured = capture_training(
        model=model, loss=losses, optimizer=optimizer, data=DATA, batch_size=BATCH, steps=STEPS, **options
    )
    with Engine(captured.program, threads=1).start(captured.state, captured.constants) as session:
        session.advance(STEPS)
        return dict(zip(captured.state_names, map(np.array, session.state()), strict=True))


ADAM = {"critic": optim.Adam(1e-3, betas=BETAS), "generator": optim.Adam(1e-3, betas=BETAS)}


@pytest.mark.parametrize(("kind", "accumulate"), [(critics, 1), (critics, 2), (clipped_critics, 1), (penalised, 1)])
def test_adversaries_take_turns(kind: Callable[..., Tensor], accumulate: int) -> None:
    losses: Losses = {"critic": kind, "generator": generators if kind is critics else wasserstein}
    records, state = eager(losses, accumulate)
    found = ours(losses, ADAM, adversaries(), accumulate=accumulate)
    for name, values in records.items():
        np.testing.assert_allclose(found[f"record.{name}"], values, rtol=1e-3, atol=1e-3 * np.abs(values).max())
    np.testing.assert_allclose(found["record.loss"], sum(map(np.array, records.values())), rtol=1e-3, atol=1e-5)
    for name, tensor in state.items():
        np.testing.assert_allclose(found[f"model.{name}"], tensor.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)
    assert found["model.generator.1.num_batches_tracked"] >= 2 * STEPS, "a buffer goes from phase to phase"


def one_loss(model: Any, x: Tensor) -> Tensor:
    return F.mse_loss(model.generator(x), x) + F.mse_loss(model.critic(x), x.sum(1, keepdim=True))


def test_one_loss_with_two_optimizers_and_their_schedules() -> None:
    model = adversaries()
    groups = {
        "generator": torch.optim.SGD(model.generator.parameters(), lr=0.05, momentum=0.9),
        "critic": torch.optim.AdamW(model.critic.parameters(), lr=1e-2, weight_decay=0.1),
    }
    schedule = torch.optim.lr_scheduler.LambdaLR(groups["critic"], lambda step: 0.9**step)
    order, losses = shuffled_order(ROWS, 0), []
    for step in range(STEPS):
        x = torch.from_numpy(DATA["x"][order[(step * BATCH + np.arange(BATCH)) % ROWS]])
        value = one_loss(model, x)
        model.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.critic.parameters(), 0.5)
        for optimizer in groups.values():
            optimizer.step()
        schedule.step()
        losses.append(value.item())
    described = {
        "generator": optim.SGD(0.05, momentum=0.9),
        "*": optim.AdamW(1e-2, weight_decay=0.1, clip_norm=0.5, schedule=lambda step: 0.9**step),
    }
    found = ours(one_loss, described, adversaries())
    np.testing.assert_allclose(found["record.loss"], losses, rtol=1e-3)
    for name, tensor in model.state_dict().items():
        np.testing.assert_allclose(found[f"model.{name}"], tensor.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)


def test_phases_with_storage_averages_and_metrics(tmp_path: Path) -> None:
    def judged(model: Any, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return critics(model, x), {"confidence": model.critic(x).sigmoid().mean()}

    losses = {"critic": judged, "generator": generators}
    options = {"ema": 0.9, "storage": Storage(trained="bf16", rounding="stochastic"), "metrics": ("confidence",)}
    found = ours(losses, ADAM, adversaries(), **options)
    assert found["model.critic.0.weight"].dtype == np.uint16 and "ema.generator.0.weight" in found
    assert 0.0 < found["record.confidence"][-1] < 1.0 and np.isfinite(found["record.loss"]).all()
    job = ts.TrainingJob(
        model=adversaries(),
        loss=losses,
        optimizer=ADAM,
        data=DATA,
        batch_size=BATCH,
        steps=6,
        segment_steps=3,
        **options,
    )
    run = job.run(tmp_path / "run")
    assert set(run.records) == {"loss", "critic", "generator", "confidence"}
    assert ts.verify(tmp_path / "run" / "receipt.json", sample=1.0).ok


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "losses without optimizers": ({"critic": critics}, optim.SGD(0.1), "several losses, and one optimizer"),
    "other names": ({"critic": critics, "other": generators}, ADAM, "the same names in the same order"),
    "another order": ({"generator": generators, "critic": critics}, ADAM, "the same names in the same order"),
    "no group": (
        one_loss,
        {"critic": optim.SGD(0.1)},
        r"generator\.0\.weight is trained, and no optimizer.*'generator'",
    ),
    "no parameters": (
        one_loss,
        {"*": optim.SGD(0.1), "judge": optim.SGD(0.1)},
        "no trained parameter is called 'judge'",
    ),
    "no optimizer": (one_loss, {}, "at least one group"),
    "another kind": (one_loss, {"*": "adam"}, "the optimizer is a str"),
    "a loss of the other": (
        {"critic": lambda m, x: m.generator(x).mean(), "generator": generators},
        ADAM,
        "does not depend",
    ),
    "a phase without a name": ({"": one_loss}, {"": optim.SGD(0.1)}, "a phase needs a name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_phases(case: str) -> None:
    losses, optimizer, message = REFUSED[case]
    with pytest.raises(CaptureError, match=message):
        ours(losses, optimizer, adversaries())
