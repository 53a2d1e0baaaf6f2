"""Optimizers beside the family of Adam: RMSprop, Adagrad, Lion and Adafactor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tallystick.capture.optimizers.optimizer import Optimizer, Slots, require, rounded, towards, zeros

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 2.0**-23  # the distance from 1 to the next binary32


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """As ``torch.optim.RMSprop``."""

    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require("alpha", self.alpha, 0.0, math.inf)
        require("eps", self.eps, 0.0, math.inf)
        require("momentum", self.momentum, 0.0, math.inf)

    def start(self, shape: Sequence[int]) -> dict[str, np.ndarray]:
        buffers = ["momentum_buffer"] * (self.momentum > 0) + ["grad_avg"] * self.centered
        return zeros(shape, "square_avg", *buffers)

    def tables(self, rates: Sequence[float]) -> dict[str, np.ndarray]:
        return rounded({"lr": rates})

    def update(self, p: Tensor, grad: Tensor, slots: Slots, factors: Mapping[str, Tensor]) -> tuple[Tensor, Slots]:
        if self.weight_decay:
            grad = grad + self.weight_decay * p
        square = self.alpha * slots["square_avg"] + ((1.0 - self.alpha) * grad) * grad
        after = {"square_avg": square}
        variance = square
        if self.centered:
            mean = after["grad_avg"] = towards(slots["grad_avg"], grad, 1.0 - self.alpha)
            variance = square - mean * mean
        denominator = variance.sqrt() + self.eps
        if not self.momentum:
            return p - (factors["lr"] * grad) / denominator, after
        buffer = after["momentum_buffer"] = self.momentum * slots["momentum_buffer"] + grad / denominator
        return p - factors["lr"] * buffer, after


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """As ``torch.optim.Adagrad``."""

    lr: float = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("lr_decay", "initial_accumulator_value", "eps"):
            require(name, getattr(self, name), 0.0, math.inf)

    def start(self, shape: Sequence[int]) -> dict[str, np.ndarray]:
        return {"sum": np.full(tuple(shape), self.initial_accumulator_value, np.float32)}

    def tables(self, rates: Sequence[float]) -> dict[str, np.ndarray]:
        return rounded({"lr": [rate / (1.0 + step * self.lr_decay) for step, rate in enumerate(rates)]})

    def update(self, p: Tensor, grad: Tensor, slots: Slots, factors: Mapping[str, Tensor]) -> tuple[Tensor, Slots]:
        if self.weight_decay:
            grad = grad + self.weight_decay * p
        total = slots["sum"] + grad * grad
        return p - (factors["lr"] * grad) / (total.sqrt() + self.eps), {"sum": total}


@dataclass(frozen=True)
class Lion(Optimizer):
    """The sign of a momentum, with decoupled weight decay.

    Source: Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023.
    """

    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require("betas[0]", self.betas[0], 0.0, 1.0)
        require("betas[1]", self.betas[1], 0.0, 1.0)

    def start(self, shape: Sequence[int]) -> dict[str, np.ndarray]:
        return zeros(shape, "exp_avg")

    def tables(self, rates: Sequence[float]) -> dict[str, np.ndarray]:
        return rounded({"lr": rates, "shrink": [1.0 - rate * self.weight_decay for rate in rates]})

    def update(self, p: Tensor, grad: Tensor, slots: Slots, factors: Mapping[str, Tensor]) -> tuple[Tensor, Slots]:
        beta1, beta2 = self.betas
        if self.weight_decay:
            p = p * factors["shrink"]
        direction = (beta1 * slots["exp_avg"] + (1.0 - beta1) * grad).sign()
        exp_avg = beta2 * slots["exp_avg"] + (1.0 - beta2) * grad
        return p - factors["lr"] * direction, {"exp_avg": exp_avg}


@dataclass(frozen=True)
class Adafactor(Optimizer):
    """Second moments kept as one row and one column per matrix, as ``torch.optim.Adafactor``.

    ``eps``  (lower bound of the root of the second moment; None for 2**-23, lower bound of a parameter's size)
    ``d``    the update's root mean square is clipped to this
    """

    lr: float = 1e-2
    beta2_decay: float = -0.8
    eps: tuple[float | None, float] = (None, 1e-3)
    d: float = 1.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require("beta2_decay", -self.beta2_decay, 0.0, math.inf)
        require("d", self.d, 1.0, math.inf)
        for number, eps in enumerate(self.eps):
            require(f"eps[{number}]", EPSILON if eps is None else eps, 0.0, math.inf)

    def start(self, shape: Sequence[int]) -> dict[str, np.ndarray]:
        if len(shape) < 2:
            return zeros(shape, "variance")
        return zeros([*shape[:-1], 1], "row_var") | zeros([*shape[:-2], 1, shape[-1]], "col_var")

    def tables(self, rates: Sequence[float]) -> dict[str, np.ndarray]:
        counts = range(1, len(rates) + 1)
        return rounded(
            {
                "step_size": [min(rate, 1.0 / math.sqrt(n)) for n, rate in zip(counts, rates, strict=True)],
                "fresh": [n**self.beta2_decay for n in counts],
                "shrink": [1.0 - rate * self.weight_decay for rate in rates],
            }
        )

    def update(self, p: Tensor, grad: Tensor, slots: Slots, factors: Mapping[str, Tensor]) -> tuple[Tensor, Slots]:
        least = EPSILON if self.eps[0] is None else self.eps[0]
        # The size is the parameter's before it decays.
        step_size = root_mean_square(p).clamp(min=self.eps[1]) * factors["step_size"]
        if self.weight_decay:
            p = p * factors["shrink"]
        after, variance = self.second_moment(grad, slots, factors["fresh"], least)
        update = variance.clamp(min=least * least).rsqrt() * grad
        clipped = (root_mean_square(update) / self.d).clamp(min=1.0)
        return p - (step_size / clipped) * update, after

    def second_moment(self, grad: Tensor, slots: Slots, fresh: Tensor, least: float) -> tuple[Slots, Tensor]:
        """The slots after this gradient, and the estimate that they make, in the gradient's shape."""
        square = grad * grad
        if grad.ndim < 2:
            variance = moved(slots["variance"], square, fresh)
            return {"variance": variance}, variance
        row = moved(slots["row_var"], square.sum(-1, keepdim=True) / grad.shape[-1], fresh)
        column = moved(slots["col_var"], square.sum(-2, keepdim=True) / grad.shape[-2], fresh)
        return {"row_var": row, "col_var": column}, row * column / row.mean(-2, keepdim=True).clamp(min=least)


def root_mean_square(x: Tensor) -> Tensor:
    """Its root mean square; rows are summed first, so that all threads have work."""
    square = x * x
    total = square.flatten(1).sum(1).sum() if x.ndim > 1 else square.sum()
    return total.sqrt() / math.sqrt(x.numel())


def moved(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """``a.lerp(b, weight)`` for a weight that is known only as the program runs."""
    way = b - a
    return (a + weight * way).where(weight < 0.5, b - (1.0 - weight) * way)
