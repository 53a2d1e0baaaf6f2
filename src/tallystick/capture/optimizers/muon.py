"""Muon: momentum whose matrices are made orthogonal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tallystick.capture.optimizers.adam import AdamW
from tallystick.capture.optimizers.optimizer import Optimizer, Slots, require, rounded, towards, zeros
from tallystick.errors import CaptureError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Muon(Optimizer):
    """Muon for matrices, as ``torch.optim.Muon``, and another optimizer for the rest.

    The Newton-Schulz iteration is in binary32; ``torch.optim.Muon`` rounds it to bfloat16.

    ``adjust_lr_fn``  how a matrix's learning rate follows from its shape (A, B): "original" scales it by
                      sqrt(max(1, A / B)), "match_rms_adamw" by 0.2 sqrt(max(A, B))
    ``matrices``      (name, parameter) -> whether Muon moves it; None takes every parameter of two dimensions.
                      Embeddings and output layers are better left to ``rest``
    ``rest``          the optimizer of all others; it takes over schedule and rules of this one where it has none

    Source: Keller Jordan, "Muon: an optimizer for hidden layers in neural networks", 2024.
    """

    weight_decay: float = 0.1
    momentum: float = 0.95
    nesterov: bool = True
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315)
    eps: float = 1e-7
    ns_steps: int = 5
    adjust_lr_fn: Literal["original", "match_rms_adamw"] = "original"
    matrices: Callable[[str, Any], bool] | None = field(default=None, kw_only=True)
    rest: Optimizer = field(default_factory=AdamW, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require("momentum", self.momentum, 0.0, 1.0)
        require("eps", self.eps, 0.0, math.inf)
        if self.adjust_lr_fn not in ("original", "match_rms_adamw"):
            raise CaptureError(f"adjust_lr_fn is 'original' or 'match_rms_adamw', not {self.adjust_lr_fn!r}")
        if not isinstance(self.rest, Optimizer) or isinstance(self.rest, Muon):
            raise CaptureError("rest is the optimizer of what is no matrix, such as ts.optim.AdamW(lr=3e-4)")
        if self.rest.clip_norm is not None or self.rest.clip_value is not None:
            raise CaptureError("gradients are clipped together: give clip_norm or clip_value to Muon, not to its rest")

    def of(self, name: str, parameter: Any) -> Optimizer:
        chosen = parameter.ndim == 2 if self.matrices is None else self.matrices(name, parameter)
        if chosen and parameter.ndim != 2:
            raise CaptureError(f"Muon moves matrices, and {name} has shape {tuple(parameter.shape)}: see ``matrices``")
        if not chosen:
            shared = {
                rule: getattr(self.rest, rule) or getattr(self, rule) for rule in ("schedule", "decay", "lr_scale")
            }
            return replace(self.rest, **shared).of(name, parameter)
        return super().of(name, parameter)

    def start(self, shape: Sequence[int]) -> dict[str, np.ndarray]:
        return zeros(shape, "momentum_buffer")

    def tables(self, rates: Sequence[float]) -> dict[str, np.ndarray]:
        return rounded({"lr": rates, "shrink": [1.0 - rate * self.weight_decay for rate in rates]})

    def update(self, p: Tensor, grad: Tensor, slots: Slots, factors: Mapping[str, Tensor]) -> tuple[Tensor, Slots]:
        buffer = towards(slots["momentum_buffer"], grad, 1.0 - self.momentum)
        update = self.orthogonal(towards(grad, buffer, self.momentum) if self.nesterov else buffer)
        if self.weight_decay:
            p = p * factors["shrink"]
        return p - (factors["lr"] * self.adjustment(*p.shape)) * update, {"momentum_buffer": buffer}

    def adjustment(self, rows: int, columns: int) -> float:
        """The factor on the learning rate of a matrix."""
        if self.adjust_lr_fn == "original":
            return math.sqrt(max(1.0, rows / columns))
        return 0.2 * math.sqrt(max(rows, columns))

    def orthogonal(self, x: Tensor) -> Tensor:
        """A matrix with the same singular vectors and singular values near 1, by Newton and Schulz."""
        a, b, c = self.ns_coefficients
        tall = x.shape[0] > x.shape[1]
        x = x.T if tall else x
        x = x / (x * x).sum(1).sum().sqrt().clamp(min=self.eps)
        for _ in range(self.ns_steps):
            gram = x @ x.T
            x = a * x + (b * gram + c * (gram @ gram)) @ x
        return x.T if tall else x
