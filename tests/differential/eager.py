"""A job run by eager PyTorch as its user would run it, on the model itself, drawing the random numbers that ours draws.

Beside it stand runs whose weights are moved in the last digit at every step: how far apart two right answers may lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from eager_training import EagerRun, averaged_model
from tallystick.capture.optimizers.ema import EMA
from tallystick.capture.tracing.random import Sampler

LAST_DIGIT = 2.0**-23
Made = tuple[nn.Module, Any, dict[str, Any]]
"""What ``make()`` of a program returns: a model, a loss, and what the loss closes over by name."""


@dataclass
class Finished:
    """What a run leaves: ``records`` hold a number per step; ``state`` and ``averages`` tensors by name.

    The tensors of what the loss closes over are called ``loss.<variable>.<name>``. ``start`` is the state before.
    """

    model: nn.Module
    records: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    averages: dict[str, np.ndarray]
    start: dict[str, np.ndarray]


class Eager(EagerRun):
    """``EagerRun`` of a model that is not copied, for copies lose hooks; with what the loss closes over trained, too.

    With ``noise`` every trained parameter is moved by about its last digit, up or down, at the start and after every
    update, and so are the floats of every batch: what is stored narrow would round the first away.
    """

    def __init__(self, made: Made, noise: int | None, seed: int = 0, **job: Any) -> None:
        model, loss, self.beside = made
        self.seed = seed
        self.noise = None if noise is None else torch.Generator().manual_seed(noise)
        super().__init__(model, loss, seed=seed, **job)

    def taken(self, model: nn.Module) -> nn.Module:
        return model

    def trainable(self) -> dict[str, nn.Parameter]:
        found = super().trainable()
        self.own = list(found)
        known = {id(p) for p in self.model.parameters()}
        for name, p in tensors_beside(self.beside):
            if p.requires_grad and id(p) not in known:
                known.add(id(p))
                found[name] = p  # type: ignore[assignment]
        return found

    def averaged(self, ema: float | EMA) -> Any:
        return averaged_model(self.average_of(self.model), EMA.of(ema))

    def average_of(self, model: nn.Module) -> nn.Module:
        # Not of the whole model: one with reparametrised weights cannot be copied.
        return nn.ParameterList(self.masters[name] for name in self.own)

    def differentiate(self, step: int, accumulate: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        # The fused kernels of attention draw for themselves, and are written out by ours.
        with Sampler(torch.tensor([step]), self.seed), sdpa_kernel(SDPBackend.MATH):
            return super().differentiate(step, accumulate, batch)

    def moved(self, tensor: Tensor) -> Tensor:
        """A tensor, or with noise one whose numbers are about a last digit away."""
        if self.noise is None:
            return tensor
        signs = torch.randint(0, 2, tensor.shape, generator=self.noise) * 2.0 - 1.0
        return tensor * (1.0 + signs * LAST_DIGIT)

    def store(self) -> None:
        if self.noise is not None:
            for p in self.masters.values():
                p.data.copy_(self.moved(p.data))
        super().store()


def tensors_beside(beside: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Parameters, buffers and other leaves among what a loss closes over, by what its code calls them."""
    if isinstance(beside, nn.Module):
        for name, tensor in (*beside.named_parameters(), *beside.named_buffers()):
            yield f"{path}.{name}", tensor
    elif isinstance(beside, Tensor):
        if beside.is_leaf:
            yield path, beside
    elif isinstance(beside, dict):
        for name, value in beside.items():
            yield from tensors_beside(value, f"{path}.{name}" if path else name)


def run_eagerly(made: Made, data: dict[str, Any], job: dict[str, Any], noise: int | None = None) -> Finished:
    """Train what ``make()`` returned."""
    start = tensors_of(made)
    run = Eager(made, noise, data=data, **job)
    averages: dict[str, np.ndarray] = {}
    if run.average is not None:
        pairs = zip(run.own, run.average.module.parameters(), strict=True)
        averages = {name: numbers(p) for name, p in pairs}
    return Finished(run.model, run.records, tensors_of(made), averages, start)


def tensors_of(made: Made) -> dict[str, np.ndarray]:
    """Copies of all parameters and buffers by name."""
    model, _, beside = made
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    found = {name: numbers(tensor) for name, tensor in own.items()}
    return found | {f"loss.{name}": numbers(tensor) for name, tensor in tensors_beside(beside)}


def numbers(tensor: Tensor) -> np.ndarray:
    """A tensor's numbers; floats as float64."""
    tensor = tensor.detach()
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy().copy()
