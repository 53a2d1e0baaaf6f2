"""Training the ordinary way, in eager PyTorch, as what a captured program is compared with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tallystick.capture.batches import shuffled_order
from tallystick.capture.inputs import Role
from tallystick.capture.optimizers import SGD, Adam, AdamW, Optimizer
from tallystick.capture.trace import Trace


def train_eagerly(
    model: nn.Module,
    loss: Callable[..., Tensor],
    optimizer: Optimizer,
    data: dict[str, np.ndarray],
    batch_size: int,
    steps: int,
    seed: int = 0,
) -> tuple[np.ndarray, dict[str, Tensor]]:
    """Losses, shape (steps,), and the state dict afterwards; the model that was passed stays as it is."""
    model = copy.deepcopy(model).train()
    tensors = {name: torch.from_numpy(array) for name, array in data.items()}
    rows = len(next(iter(data.values())))
    order = torch.from_numpy(shuffled_order(rows, seed)).long()
    theirs = torch_optimizer(optimizer, model)
    schedule = torch.optim.lr_scheduler.LambdaLR(theirs, optimizer.schedule or (lambda step: 1.0))
    losses = np.zeros(steps, np.float32)
    for step in range(steps):
        chosen = order[(step * batch_size + torch.arange(batch_size)) % rows]
        theirs.zero_grad()
        value = loss(model, **{name: tensor[chosen] for name, tensor in tensors.items()})
        value.backward()
        if optimizer.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), optimizer.clip_norm)
        theirs.step()
        schedule.step()
        losses[step] = value.item()
    return losses, model.state_dict()


def torch_optimizer(ours: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of ``torch.optim`` that ours stands for, in its single-tensor form."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trained if ours.decay is None or ours.decay(name, p)]
    rest = [p for name, p in trained if ours.decay is not None and not ours.decay(name, p)]
    groups = [{"params": decayed, "weight_decay": ours.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if isinstance(ours, SGD):
        return torch.optim.SGD(
            groups, ours.lr, ours.momentum, ours.dampening, nesterov=ours.nesterov, foreach=False, fused=False
        )
    assert isinstance(ours, Adam)
    theirs = torch.optim.AdamW if isinstance(ours, AdamW) else torch.optim.Adam
    return theirs(groups, ours.lr, ours.betas, ours.eps, amsgrad=ours.amsgrad, foreach=False, fused=False)


class _Dense(torch.fx.Interpreter):
    """Runs a graph whose values are all dense: a reshape may copy."""

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        return super().call_function(torch.reshape if target is torch.ops.aten.view.default else target, args, kwargs)


class GraphRunner:
    """Runs a traced step with PyTorch's own kernels: what the graph means, before anything is lowered."""

    def __init__(self, trace: Trace) -> None:
        self.inputs = trace.inputs
        self.module = _Dense(torch.fx.GraphModule(torch.nn.Module(), trace.graph))
        self.values = {
            made.name: torch.from_numpy(np.array(made.array)).to(made.dtype)
            for made in trace.inputs
            if made.role is not Role.STEP and made.array is not None
        }
        self.step = 0

    def advance(self, steps: int) -> None:
        state = [made.name for made in self.inputs if made.role is Role.STATE]
        for _ in range(steps):
            tensors = [
                torch.tensor([self.step]) if made.role is Role.STEP else self.values[made.name] for made in self.inputs
            ]
            with torch.no_grad():
                results = self.module.run(*tensors)
            self.values.update(zip(state, results, strict=True))
            self.step += 1

    @property
    def losses(self) -> np.ndarray:
        return self.values["record.loss"].numpy()[: self.step]
