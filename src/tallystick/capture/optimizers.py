"""Optimizers: descriptions that a training job holds, and the arithmetic of one update.

They follow ``torch.optim`` (its single-tensor form) operation by operation: factors that depend only on the step are
computed in double precision and rounded once to binary32, everything else is binary32. The descriptions need no
PyTorch; ``update`` is handed tensors and uses only their methods.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tallystick.capture.schedules import Schedule, evaluate
from tallystick.errors import CaptureError

if TYPE_CHECKING:
    from torch import Tensor

DecayRule = Callable[[str, Any], bool]


class Optimizer(ABC):
    """What every optimizer has.

    ``schedule``   step -> factor on the learning rate (as ``LambdaLR``); None leaves it constant
    ``clip_norm``  the gradients' global norm is clipped to this (as ``clip_grad_norm_``); None does not clip
    ``decay``      (name, parameter) -> whether weight decay applies to it, for example
                   ``lambda name, p: p.ndim >= 2``; None applies it to all
    """

    lr: float
    weight_decay: float
    schedule: Schedule | None
    clip_norm: float | None
    decay: DecayRule | None

    def check(self) -> None:
        """Refuse hyperparameters that make no sense, with a CaptureError."""
        require("lr", self.lr, 0.0, math.inf)
        require("weight_decay", self.weight_decay, 0.0, math.inf)
        if self.clip_norm is not None and not 0.0 < self.clip_norm < math.inf:
            raise CaptureError(f"clip_norm must be a positive number or None, not {self.clip_norm!r}")

    @property
    def name(self) -> str:
        return type(self).__name__

    def rates(self, steps: int) -> list[float]:
        """The learning rate of every step, in double precision."""
        return [self.lr * factor for factor in evaluate(self.schedule, steps)]

    @property
    @abstractmethod
    def slots(self) -> tuple[str, ...]:
        """Names of the tensors kept per parameter, each starting at zero."""

    @abstractmethod
    def tables(self, rates: list[float]) -> dict[str, np.ndarray]:
        """Factors that depend on the step, one float32 per step, from every step's learning rate."""

    @abstractmethod
    def update(
        self, p: Tensor, grad: Tensor, slots: dict[str, Tensor], factors: dict[str, Tensor], decays: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One parameter and its slots after a step. ``factors`` holds this step's element of every table."""


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, as ``torch.optim.SGD``."""

    lr: float = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    schedule: Schedule | None = field(default=None, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    decay: DecayRule | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.check()
        require("momentum", self.momentum, 0.0, math.inf)
        if self.nesterov and (self.momentum <= 0.0 or self.dampening != 0.0):
            raise CaptureError("nesterov needs a momentum above 0 and a dampening of 0")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def tables(self, rates: list[float]) -> dict[str, np.ndarray]:
        tables = {"lr": rates}
        if self.momentum and self.dampening:
            # The first step starts the buffer with the whole gradient, undampened.
            tables["fresh"] = [1.0] + [1.0 - self.dampening] * (len(rates) - 1)
        return _rounded(tables)

    def update(
        self, p: Tensor, grad: Tensor, slots: dict[str, Tensor], factors: dict[str, Tensor], decays: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.weight_decay and decays:
            grad = grad + self.weight_decay * p
        if not self.momentum:
            return p - factors["lr"] * grad, {}
        fresh = factors["fresh"] * grad if "fresh" in factors else grad
        buffer = self.momentum * slots["momentum_buffer"] + fresh
        direction = grad + self.momentum * buffer if self.nesterov else buffer
        return p - factors["lr"] * direction, {"momentum_buffer": buffer}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with L2 regularisation in the gradient, as ``torch.optim.Adam``."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False
    schedule: Schedule | None = field(default=None, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    decay: DecayRule | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.check()
        require("betas[0]", self.betas[0], 0.0, 1.0)
        require("betas[1]", self.betas[1], 0.0, 1.0)
        require("eps", self.eps, 0.0, math.inf)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if self.amsgrad else ("exp_avg", "exp_avg_sq")

    def tables(self, rates: list[float]) -> dict[str, np.ndarray]:
        beta1, beta2 = self.betas
        return _rounded(
            {
                "step_size": [rate / (1.0 - beta1 ** (step + 1)) for step, rate in enumerate(rates)],
                "bias_correction": [math.sqrt(1.0 - beta2 ** (step + 1)) for step in range(len(rates))],
            }
        )

    def update(
        self, p: Tensor, grad: Tensor, slots: dict[str, Tensor], factors: dict[str, Tensor], decays: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        p, grad = self.regularize(p, grad, factors, decays)
        beta1, beta2 = self.betas
        # Tensor.lerp takes whichever form is exact at its nearer end.
        towards = grad - slots["exp_avg"]
        exp_avg = slots["exp_avg"] + (1.0 - beta1) * towards if 1.0 - beta1 < 0.5 else grad - beta1 * towards
        exp_avg_sq = beta2 * slots["exp_avg_sq"] + ((1.0 - beta2) * grad) * grad
        after = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
        second = exp_avg_sq
        if self.amsgrad:
            second = after["max_exp_avg_sq"] = slots["max_exp_avg_sq"].maximum(exp_avg_sq)
        denominator = second.sqrt() / factors["bias_correction"] + self.eps
        return p - (factors["step_size"] * exp_avg) / denominator, after

    def regularize(self, p: Tensor, grad: Tensor, factors: dict[str, Tensor], decays: bool) -> tuple[Tensor, Tensor]:
        """The parameter and gradient that the moments see."""
        return (p, grad + self.weight_decay * p) if self.weight_decay and decays else (p, grad)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, as ``torch.optim.AdamW``."""

    weight_decay: float = 1e-2

    def tables(self, rates: list[float]) -> dict[str, np.ndarray]:
        tables = super().tables(rates)
        if self.weight_decay:
            tables.update(_rounded({"shrink": [1.0 - rate * self.weight_decay for rate in rates]}))
        return tables

    def regularize(self, p: Tensor, grad: Tensor, factors: dict[str, Tensor], decays: bool) -> tuple[Tensor, Tensor]:
        return (p * factors["shrink"], grad) if self.weight_decay and decays else (p, grad)


def require(name: str, value: float, least: float, below: float) -> None:
    """Refuse a hyperparameter that is no number or out of range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < below:
        limits = f"at least {least:g}" + ("" if below == math.inf else f" and below {below:g}")
        raise CaptureError(f"{name} must be a number {limits}, not {value!r}")


def _rounded(tables: dict[str, list[float]]) -> dict[str, np.ndarray]:
    """Double precision to binary32, rounded once; a factor beyond binary32 is refused."""
    rounded: dict[str, np.ndarray] = {}
    for name, values in tables.items():
        exact = np.array(values, dtype=np.float64)
        if not (np.abs(exact) <= np.finfo(np.float32).max).all():
            raise CaptureError(f"the optimizer's {name} at step {int(np.argmax(np.abs(exact)))} overflows float32")
        rounded[name] = exact.astype(np.float32)
    return rounded
