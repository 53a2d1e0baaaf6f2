"""Derivatives inside the loss, by torch.func and torch.autograd, and checkpoints that run a part again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from eager_training import GraphRunner, train_eagerly
from tallystick.capture.optimizers.adam import SGD
from tallystick.capture.training import trace_training


def of(model: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda z: model(z).tanh().sum()


def batched_gradients(model: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    seeds = torch.eye(3).unsqueeze(1).expand(3, len(x), 3)
    return torch.autograd.grad(model(x).tanh(), x, seeds, create_graph=True, is_grads_batched=True)[0]


def gradients_by_example(model: nn.Module, x: Tensor) -> Tensor:
    def one(p: dict[str, Tensor], z: Tensor) -> Tensor:
        return functional_call(model, p, (z,)).tanh().square().sum()

    found = vmap(grad(one), in_dims=(None, 0))(dict(model.named_parameters()), x)
    return torch.cat([g.reshape(-1) for g in found.values()])


DERIVATIVES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "grad": lambda model, x: vmap(grad(of(model)))(x),
    "grad of grad": lambda model, x: grad(lambda z: grad(of(model))(z).square().sum())(x),
    "hessian of every row": lambda model, x: vmap(hessian(of(model)))(x),
    "laplacian": lambda model, x: vmap(lambda z: torch.trace(hessian(of(model))(z)))(x),
    "jacobian backwards": lambda model, x: vmap(jacrev(lambda z: model(z).tanh()))(x),
    "jacobian forwards": lambda model, x: vmap(jacfwd(lambda z: model(z).tanh()))(x),
    "jvp": lambda model, x: jvp(of(model), (x,), (torch.ones_like(x),))[1],
    "vjp": lambda model, x: vjp(lambda z: model(z).tanh(), x)[1](torch.ones_like(x))[0],
    "gradients by example": gradients_by_example,
    "batched gradients": batched_gradients,
    "autograd.functional": lambda model, x: torch.autograd.functional.hessian(of(model), x[0], create_graph=True),
}


def compare(model: nn.Module, loss: Callable[..., Tensor]) -> None:
    x = np.random.default_rng(0).standard_normal((8, 3), dtype=np.float32)
    job: dict[str, Any] = {"model": model, "loss": loss, "optimizer": SGD(0.2), "data": {"x": x}}
    job |= {"batch_size": 4, "steps": 4}
    runner = GraphRunner(trace_training(**job))
    runner.advance(4)
    losses, state = train_eagerly(**job)
    np.testing.assert_allclose(runner.losses, losses, rtol=1e-4)
    for name, value in state.items():
        np.testing.assert_allclose(runner.values[f"model.{name}"], value, rtol=1e-3, atol=1e-6)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # PyTorch compiles its own derivatives
@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_in_the_loss_are_those_of_eager_pytorch(name: str) -> None:
    torch.manual_seed(0)
    compare(nn.Linear(3, 3), lambda model, x: DERIVATIVES[name](model, x).square().mean())


class Checkpointed(nn.Module):
    """Blocks that are run again in the backward pass. Whether the first one has a gradient is asked of its operand."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.blocks = nn.Sequential(*[nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(3)])
        self.last = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "sequential":
            return self.last(checkpoint_sequential(self.blocks, 2, self.last(x), use_reentrant=True))
        x = x if self.kind == "without gradient" else self.last(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=True)
        return self.last(x)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("kind", ["blocks", "sequential", "without gradient"])
def test_reentrant_checkpoints_are_those_of_eager_pytorch(kind: str) -> None:
    torch.manual_seed(0)
    compare(Checkpointed(kind), lambda model, x: model(x).square().mean())
    assert torch.utils.checkpoint.CheckpointFunction.__name__ == "CheckpointFunction"
