"""Training the ordinary way, in eager PyTorch, as what a captured program is compared with."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tallystick.capture.inputs import Role
from tallystick.capture.optimizers.ema import EMA
from tallystick.capture.optimizers.muon import Muon
from tallystick.capture.optimizers.optimizer import Optimizer
from tallystick.capture.steps.batches import shuffled_order
from tallystick.capture.steps.epochs import epoch_order
from tallystick.capture.storage import Storage
from tallystick.capture.tracing.trace import Trace


def train_eagerly(
    model: nn.Module, loss: Callable[..., Any], optimizer: Optimizer, data: dict[str, np.ndarray], **options: Any
) -> tuple[np.ndarray, dict[str, Tensor]]:
    """Losses, shape (steps,), and the state dict afterwards; the model that was passed stays as it is."""
    run = EagerRun(model, loss, optimizer, data, **options)
    return run.losses, run.model.state_dict()


class EagerRun:
    """A training run with the arguments of ``capture_training``, written out as a user of PyTorch would.

    ``model`` is trained, ``average`` the ``AveragedModel`` of it (or None), ``records`` the losses and metrics.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[..., Any],
        optimizer: Optimizer,
        data: dict[str, np.ndarray],
        batch_size: int,
        steps: int,
        seed: int = 0,
        accumulate: int = 1,
        ema: float | EMA | None = None,
        storage: Storage | None = None,
        metrics: Sequence[str] = (),
        shuffle: str | None = "once",
    ) -> None:
        self.model = self.taken(model)
        self.loss = loss
        if not self.model.training:
            self.model.train()
        self.storage = storage or Storage()
        self.trained = self.trainable()
        # Where updates are added: to the parameters, or to copies that the parameters are rounded from.
        self.masters = (
            {name: nn.Parameter(p.detach().clone()) for name, p in self.trained.items()}
            if self.storage.master
            else self.trained
        )
        for p in self.model.parameters():
            if not p.requires_grad:
                p.data = as_stored(p.data, self.storage.frozen)
        self.store()
        self.optimizers = torch_optimizers(optimizer, self.masters)
        self.clip_norm, self.clip_value = optimizer.clip_norm, optimizer.clip_value
        self.average = None if ema is None else self.averaged(ema)
        self.records = {name: np.zeros(steps, np.float32) for name in ("loss", *metrics)}
        tensors = {name: torch.as_tensor(array) for name, array in data.items()}
        rows = len(next(iter(data.values())))
        orders = Orders(rows, seed, shuffle)
        for step in range(steps):
            chosen = torch.from_numpy(orders.rows(step * batch_size + np.arange(batch_size)))
            found = self.differentiate(step, accumulate, {name: tensor[chosen] for name, tensor in tensors.items()})
            for name, number in found.items():
                self.records[name][step] = number.item()
            if (step + 1) % accumulate == 0:
                self.update()

    def taken(self, model: nn.Module) -> nn.Module:
        """The module that is trained: a copy."""
        return copy.deepcopy(model)

    def trainable(self) -> dict[str, nn.Parameter]:
        """What the optimizer is given."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def averaged(self, ema: float | EMA) -> AveragedModel:
        return averaged_model(self.model, EMA.of(ema))

    def average_of(self, model: nn.Module) -> nn.Module:
        """What the average is taken of, after an update."""
        return model

    def differentiate(self, step: int, accumulate: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Forward and backward of one batch; returns what is recorded."""
        returned = self.loss(self.model, **batch)
        value, found = returned if isinstance(returned, tuple) else (returned, {})
        (value / accumulate).backward()
        return {"loss": value, **found}

    @property
    def losses(self) -> np.ndarray:
        return self.records["loss"]

    def update(self) -> None:
        if self.masters is not self.trained:
            for name, p in self.trained.items():
                self.masters[name].grad, p.grad = p.grad, None
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.masters.values(), self.clip_norm)
        if self.clip_value is not None:
            torch.nn.utils.clip_grad_value_(self.masters.values(), self.clip_value)
        for optimizer, schedule in self.optimizers:
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        self.store()
        if self.average is not None:
            self.average.update_parameters(self.average_of(self.model))

    def store(self) -> None:
        """Round what is stored narrow."""
        with torch.no_grad():
            for name, p in self.trained.items():
                p.copy_(as_stored(self.masters[name], self.storage.trained))
        for optimizer, _ in getattr(self, "optimizers", ()):
            for slots in optimizer.state.values():
                for tensor in slots.values():
                    if tensor is not None and tensor.dim():
                        tensor.copy_(as_stored(tensor, self.storage.moments))


class Orders:
    """Which rows a job sees one after the other, over all epochs."""

    def __init__(self, rows: int, seed: int, shuffle: str | None) -> None:
        self.count, self.seed, self.shuffle = rows, seed, shuffle
        self.once = shuffled_order(rows, seed).astype(np.int64)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """The rows that come at these numbers, counted from the first one ever seen."""
        epoch, place = numbers // self.count, numbers % self.count
        if self.shuffle == "epoch":
            return epoch_order(epoch, place, self.count, self.seed)
        return self.once[place] if self.shuffle == "once" else place


def as_stored(x: Tensor, kind: str | None) -> Tensor:
    """The float32 values that are left of a tensor that is stored narrow."""
    if kind is None:
        return x
    if kind == "int8" and x.dim() > 1:
        scale = x.abs().amax(tuple(range(1, x.dim())), keepdim=True) / 127
        return (x / scale).round() * scale
    return x.to({"bf16": torch.bfloat16, "f16": torch.float16}.get(kind, torch.float32)).float()


def averaged_model(model: nn.Module, ema: EMA | None) -> AveragedModel:
    assert ema is not None
    if not ema.warmup:
        return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema.decay))

    def warmed_up(average: Tensor, p: Tensor, updates: Tensor | int) -> Tensor:
        return average.lerp(p, 1.0 - min(ema.decay, (1 + int(updates)) / (10 + int(updates))))

    return AveragedModel(model, avg_fn=warmed_up)


def torch_optimizers(
    ours: Optimizer, parameters: dict[str, nn.Parameter]
) -> list[tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]]:
    """The optimizers of ``torch.optim`` that ours stands for, in their single-tensor form, with their schedules."""
    if isinstance(ours, Muon):
        matrices = {n: p for n, p in parameters.items() if (ours.matrices(n, p) if ours.matrices else p.ndim == 2)}
        rest = {name: p for name, p in parameters.items() if name not in matrices}
        rules = {rule: getattr(ours.rest, rule) or getattr(ours, rule) for rule in ("schedule", "decay", "lr_scale")}
        others = dataclasses.replace(ours.rest, **rules)
        return [scheduled(MuonInFloat32, ours, matrices), *torch_optimizers(others, rest)]
    return [scheduled(getattr(torch.optim, ours.name, Lion), ours, parameters)]


def scheduled(
    kind: Callable[..., torch.optim.Optimizer], ours: Optimizer, parameters: dict[str, nn.Parameter]
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """One optimizer with a group per parameter."""
    options = {field.name: getattr(ours, field.name) for field in dataclasses.fields(ours)}
    names = inspect.signature(kind).parameters
    options = {name: value for name, value in options.items() if name in names}
    options.update({name: False for name in ("foreach", "fused") if name in names})
    groups = [
        {
            "params": [p],
            "lr": ours.lr * (1.0 if ours.lr_scale is None else ours.lr_scale(name, p)),
            "weight_decay": options["weight_decay"] * (1.0 if ours.decay is None else ours.decay(name, p)),
        }
        for name, p in parameters.items()
    ]
    theirs = kind(groups, **options)
    return theirs, torch.optim.lr_scheduler.LambdaLR(theirs, ours.schedule or (lambda step: 1.0))


class MuonInFloat32(torch.optim.Muon):
    """``torch.optim.Muon`` without its rounding to bfloat16."""

    def step(self, closure: Any = None) -> None:
        with mock.patch.object(Tensor, "bfloat16", Tensor.clone):
            super().step(closure)


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of Chen et al., "Symbolic Discovery of Optimization Algorithms"."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float], weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                momentum = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                direction = (momentum * beta1 + p.grad * (1 - beta1)).sign()
                momentum.mul_(beta2).add_(p.grad, alpha=1 - beta2)
                p.sub_(group["lr"] * (direction + group["weight_decay"] * p))


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
