"""What every optimizer is: a description that a training job holds, and the arithmetic of one update.

They follow ``torch.optim`` (its single-tensor form) operation by operation: factors that depend only on the step are
computed in double precision and rounded once to binary32, everything else is binary32. The descriptions need no
PyTorch; ``update`` is handed tensors and uses only their methods.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tallystick.capture.optimizers.schedules import Schedule
from tallystick.errors import CaptureError

if TYPE_CHECKING:
    from torch import Tensor

DecayRule = Callable[[str, Any], float]
ScaleRule = Callable[[str, Any], float]
Slots = dict[str, "Tensor"]


@dataclass(frozen=True)
class Optimizer(ABC):
    """What every optimizer has, besides a ``weight_decay``.

    ``lr``          the learning rate
    ``schedule``    update -> factor on the learning rate (as ``LambdaLR``); None leaves it constant
    ``clip_norm``   the gradients' global norm is clipped to this (as ``clip_grad_norm_``); None does not clip
    ``clip_value``  every element of a gradient is clipped to +- this (as ``clip_grad_value_``); None does not clip
    ``decay``       (name, parameter) -> whether weight decay applies to it, or a factor on it, for example
                    ``lambda name, p: p.ndim >= 2``; None applies it to all
    ``lr_scale``    (name, parameter) -> a factor on its learning rate, for example
                    ``lambda name, p: 0.1 if name.startswith("backbone.") else 1.0``; None is 1 for all
    """

    lr: float = 1e-3
    _: KW_ONLY
    schedule: Schedule | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    decay: DecayRule | None = None
    lr_scale: ScaleRule | None = None

    def __post_init__(self) -> None:
        """Refuse hyperparameters that make no sense, with a CaptureError."""
        require("lr", self.lr, 0.0, math.inf)
        require("weight_decay", self._weight_decay, 0.0, math.inf)
        for name, limit in (("clip_norm", self.clip_norm), ("clip_value", self.clip_value)):
            if limit is not None and not 0.0 < limit < math.inf:
                raise CaptureError(f"{name} must be a positive number or None, not {limit!r}")
        if self.clip_norm is not None and self.clip_value is not None:
            raise CaptureError("clip_norm and clip_value are two ways to clip the same gradients: give one of them")

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def _weight_decay(self) -> float:
        # Every optimizer has this field, each in the place where torch.optim has it: so it is not declared above.
        return vars(self)["weight_decay"]

    def of(self, name: str, parameter: Any) -> Optimizer:
        """The optimizer of one parameter: this one, with its own learning rate and weight decay.

        Raises: CaptureError if a rule does not return a factor.
        """
        scale = ruled("lr_scale", self.lr_scale, name, parameter)
        share = ruled("decay", self.decay, name, parameter)
        if scale == 1.0 and share == 1.0:
            return self
        return replace(self, lr=self.lr * scale, **{"weight_decay": self._weight_decay * share})

    @abstractmethod
    def start(self, shape: Sequence[int]) -> dict[str, np.ndarray]:
        """The tensors kept for a parameter of this shape, by their names in ``torch.optim``, float32."""

    @abstractmethod
    def tables(self, rates: Sequence[float]) -> dict[str, np.ndarray]:
        """Factors that depend on the update, one float32 per update, from every update's learning rate."""

    @abstractmethod
    def update(self, p: Tensor, grad: Tensor, slots: Slots, factors: Mapping[str, Tensor]) -> tuple[Tensor, Slots]:
        """One parameter and its slots after an update. ``factors`` holds this update's element of every table."""


def require(name: str, value: float, least: float, below: float) -> None:
    """Refuse a hyperparameter that is no number or out of range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < below:
        limits = f"at least {least:g}" + ("" if below == math.inf else f" and below {below:g}")
        raise CaptureError(f"{name} must be a number {limits}, not {value!r}")


def ruled(rule_name: str, rule: Callable[[str, Any], float] | None, name: str, parameter: Any) -> float:
    """What a rule says about a parameter. Raises: CaptureError unless it is a factor (or True or False)."""
    if rule is None:
        return 1.0
    factor = rule(name, parameter)
    if not isinstance(factor, (bool, int, float)) or not 0.0 <= factor < math.inf:
        raise CaptureError(
            f"{rule_name} returned {factor!r} for {name}: return a factor of at least 0, or True or False"
        )
    return float(factor)


def zeros(shape: Sequence[int], *slots: str) -> dict[str, np.ndarray]:
    """Slots of a parameter's shape that start at zero."""
    return {slot: np.zeros(tuple(shape), np.float32) for slot in slots}


def towards(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """``a.lerp(b, weight)``, which takes whichever form is exact at its nearer end."""
    way = b - a
    return a + weight * way if weight < 0.5 else b - (1.0 - weight) * way


def rounded(tables: dict[str, Sequence[float]]) -> dict[str, np.ndarray]:
    """Double precision to binary32, rounded once; a factor beyond binary32 is refused."""
    made: dict[str, np.ndarray] = {}
    for name, values in tables.items():
        exact = np.array(values, dtype=np.float64)
        if not (np.abs(exact) <= np.finfo(np.float32).max).all():
            raise CaptureError(f"the optimizer's {name} at step {int(np.argmax(np.abs(exact)))} overflows float32")
        made[name] = exact.astype(np.float32)
    return made
