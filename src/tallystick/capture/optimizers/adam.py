"""Gradient descent with momentum, and the family of Adam, as in ``torch.optim``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tallystick.capture.optimizers.optimizer import Optimizer, Slots, require, rounded, towards, zeros
from tallystick.errors import CaptureError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, as ``torch.optim.SGD``."""

    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require("momentum", self.momentum, 0.0, math.inf)
        if self.nesterov and (self.momentum <= 0.0 or self.dampening != 0.0):
            raise CaptureError("nesterov needs a momentum above 0 and a dampening of 0")

    def start(self, shape: Sequence[int]) -> dict[str, np.ndarray]:
        return zeros(shape, "momentum_buffer") if self.momentum else {}

    def tables(self, rates: Sequence[float]) -> dict[str, np.ndarray]:
        tables = {"lr": rates}
        if self.momentum and self.dampening:
            # The first step starts the buffer with the whole gradient, undampened.
            tables["fresh"] = [1.0] + [1.0 - self.dampening] * (len(rates) - 1)
        return rounded(tables)

    def update(self, p: Tensor, grad: Tensor, slots: Slots, factors: Mapping[str, Tensor]) -> tuple[Tensor, Slots]:
        if self.weight_decay:
            grad = grad + self.weight_decay * p
        if not self.momentum:
            return p - factors["lr"] * grad, {}
        fresh = factors["fresh"] * grad if "fresh" in factors else grad
        buffer = self.momentum * slots["momentum_buffer"] + fresh
        direction = grad + self.momentum * buffer if self.nesterov else buffer
        return p - factors["lr"] * direction, {"momentum_buffer": buffer}


@dataclass(frozen=True)
class Moments(Optimizer):
    """What the family of Adam shares: running means of the gradient and of its square."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require("betas[0]", self.betas[0], 0.0, 1.0)
        require("betas[1]", self.betas[1], 0.0, 1.0)
        require("eps", self.eps, 0.0, math.inf)

    def start(self, shape: Sequence[int]) -> dict[str, np.ndarray]:
        return zeros(shape, "exp_avg", "exp_avg_sq")

    def moments(self, grad: Tensor, slots: Slots) -> Slots:
        """Both means after this gradient."""
        beta1, beta2 = self.betas
        exp_avg = towards(slots["exp_avg"], grad, 1.0 - beta1)
        return {"exp_avg": exp_avg, "exp_avg_sq": beta2 * slots["exp_avg_sq"] + ((1.0 - beta2) * grad) * grad}


@dataclass(frozen=True)
class Adam(Moments):
    """Adam with L2 regularisation in the gradient, as ``torch.optim.Adam``."""

    amsgrad: bool = False

    def start(self, shape: Sequence[int]) -> dict[str, np.ndarray]:
        return super().start(shape) | (zeros(shape, "max_exp_avg_sq") if self.amsgrad else {})

    def tables(self, rates: Sequence[float]) -> dict[str, np.ndarray]:
        beta1, beta2 = self.betas
        return rounded(
            {
                "step_size": [rate / (1.0 - beta1 ** (step + 1)) for step, rate in enumerate(rates)],
                "bias_correction": [math.sqrt(1.0 - beta2 ** (step + 1)) for step in range(len(rates))],
            }
        )

    def update(self, p: Tensor, grad: Tensor, slots: Slots, factors: Mapping[str, Tensor]) -> tuple[Tensor, Slots]:
        p, grad = self.regularize(p, grad, factors)
        after = self.moments(grad, slots)
        second = after["exp_avg_sq"]
        if self.amsgrad:
            second = after["max_exp_avg_sq"] = slots["max_exp_avg_sq"].maximum(second)
        denominator = second.sqrt() / factors["bias_correction"] + self.eps
        return p - (factors["step_size"] * after["exp_avg"]) / denominator, after

    def regularize(self, p: Tensor, grad: Tensor, factors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The parameter and gradient that the moments see."""
        return (p, grad + self.weight_decay * p) if self.weight_decay else (p, grad)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, as ``torch.optim.AdamW``."""

    weight_decay: float = 1e-2

    def tables(self, rates: Sequence[float]) -> dict[str, np.ndarray]:
        tables = super().tables(rates)
        if self.weight_decay:
            tables.update(rounded({"shrink": [1.0 - rate * self.weight_decay for rate in rates]}))
        return tables

    def regularize(self, p: Tensor, grad: Tensor, factors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        return (p * factors["shrink"], grad) if self.weight_decay else (p, grad)


@dataclass(frozen=True)
class NAdam(Moments):
    """Adam with Nesterov momentum, as ``torch.optim.NAdam``."""

    lr: float = 2e-3
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False

    def tables(self, rates: Sequence[float]) -> dict[str, np.ndarray]:
        beta1, beta2 = self.betas
        momenta = [beta1 * (1.0 - 0.5 * 0.96 ** (step * self.momentum_decay)) for step in range(1, len(rates) + 2)]
        product = np.float32(1.0)  # torch.optim multiplies it up in binary32
        tables: dict[str, list[float]] = {"grad_step": [], "exp_avg_step": [], "bias_correction": [], "shrink": []}
        for step, rate in enumerate(rates):
            product = np.float32(float(product) * momenta[step])
            tables["grad_step"].append(rate * (1.0 - momenta[step]) / (1.0 - float(product)))
            following = float(product) * momenta[step + 1]
            tables["exp_avg_step"].append(rate * momenta[step + 1] / (1.0 - following))
            tables["bias_correction"].append(1.0 - beta2 ** (step + 1))
            tables["shrink"].append(1.0 - rate * self.weight_decay)
        return rounded({**tables})

    def update(self, p: Tensor, grad: Tensor, slots: Slots, factors: Mapping[str, Tensor]) -> tuple[Tensor, Slots]:
        if self.weight_decay:
            if self.decoupled_weight_decay:
                p = p * factors["shrink"]
            else:
                grad = grad + self.weight_decay * p
        after = self.moments(grad, slots)
        denominator = (after["exp_avg_sq"] / factors["bias_correction"]).sqrt() + self.eps
        p = p - (factors["grad_step"] * grad) / denominator
        return p - (factors["exp_avg_step"] * after["exp_avg"]) / denominator, after


@dataclass(frozen=True)
class RAdam(Moments):
    """Adam whose early steps are rectified, as ``torch.optim.RAdam``."""

    decoupled_weight_decay: bool = False

    def tables(self, rates: Sequence[float]) -> dict[str, np.ndarray]:
        beta1, beta2 = self.betas
        longest = 2.0 / (1.0 - beta2) - 1.0
        correction1 = [1.0 - beta1 ** (step + 1) for step in range(len(rates))]
        correction2 = [1.0 - beta2 ** (step + 1) for step in range(len(rates))]
        lengths = [
            longest - 2.0 * (step + 1) * beta2 ** (step + 1) / correction for step, correction in enumerate(correction2)
        ]
        # Below a length of 5 the variance is not tractable, and the step is one of momentum alone.
        rectified = [
            math.sqrt((n - 4) * (n - 2) * longest / ((longest - 4) * (longest - 2) * n)) if n > 5.0 else 0.0
            for n in lengths
        ]
        return rounded(
            {
                "lr": rates,
                "bias_correction1": correction1,
                "bias_correction2": [math.sqrt(c) for c in correction2],
                "rectification": rectified,
                "shrink": [1.0 - rate * self.weight_decay for rate in rates],
            }
        )

    def update(self, p: Tensor, grad: Tensor, slots: Slots, factors: Mapping[str, Tensor]) -> tuple[Tensor, Slots]:
        if self.weight_decay:
            if self.decoupled_weight_decay:
                p = p * factors["shrink"]
            else:
                grad = grad + self.weight_decay * p
        after = self.moments(grad, slots)
        step = after["exp_avg"] / factors["bias_correction1"] * factors["lr"]
        adaptive = factors["bias_correction2"] / (after["exp_avg_sq"].sqrt() + self.eps)
        rectification = factors["rectification"]
        rectified = step * adaptive * rectification
        return p - rectified.where(rectification > 0.0, step), after
