"""What a user's loss returns: one number to lower, and numbers to record beside it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tallystick.errors import CaptureError

Loss = Callable[..., Any]
RESERVED = "loss"


def require_signature(loss: Loss, model: nn.Module, names: Iterable[str]) -> None:
    """Refuse a loss that cannot be called as ``loss(model, **batch)``."""
    try:
        inspect.signature(loss).bind(model, **dict.fromkeys(names))
    except TypeError as error:
        given = ", ".join(f"{name}=..." for name in names)
        raise CaptureError(
            f"the loss is called as loss(model, {given}), with the names of the data: {error}"
        ) from error


def require_names(metrics: Sequence[str]) -> None:
    """Refuse names of metrics that no slot can have."""
    if isinstance(metrics, str) or not all(isinstance(name, str) and name.isprintable() and name for name in metrics):
        raise CaptureError(f'metrics are names, such as metrics=("accuracy",), not {metrics!r}')
    if len(set(metrics)) != len(metrics) or RESERVED in metrics:
        raise CaptureError(f"metrics {tuple(metrics)}: names must differ, and {RESERVED} is recorded anyway")


def scalar_loss(value: Any) -> Tensor:
    """The loss, if it is one differentiable float32 number."""
    if not isinstance(value, Tensor):
        raise CaptureError(f"the loss returned a {type(value).__name__}; it must return a scalar tensor")
    if value.numel() != 1:
        raise CaptureError(f"the loss has shape {tuple(value.shape)}; it must be a scalar: use .mean() or .sum()")
    if value.dtype != torch.float32:
        raise CaptureError(f"the loss is {value.dtype}; it must be float32")
    if not value.requires_grad:
        raise CaptureError("the loss does not depend on any parameter with requires_grad=True")
    return value


def with_metrics(returned: Any, metrics: Sequence[str], every: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and a float32 number of shape (1,) for every metric: the loss returns ``(loss, {name: value})``.

    Without ``every`` it may return some of them.

    Raises: CaptureError unless these and no others are returned, each a single number.
    """
    found: dict[str, Any] = {}
    if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], dict):
        returned, found = returned
    missing = [name for name in metrics if name not in found] if every else []
    unknown = [name for name in found if name not in metrics]
    if missing:
        raise CaptureError(
            f"the loss returned no {missing[0]}: with metrics={tuple(metrics)!r} it returns "
            f"(loss, {{{', '.join(f'{name!r}: ...' for name in metrics)}}})"
        )
    if unknown:
        raise CaptureError(
            f"the loss returned {unknown[0]!r}, too: name what is recorded in the job: metrics={tuple(found)!r}"
        )
    value = scalar_loss(returned)
    recorded: dict[str, Tensor] = {}
    for name, metric in found.items():
        if not isinstance(metric, Tensor) or metric.numel() != 1:
            what = f"shape {tuple(metric.shape)}" if isinstance(metric, Tensor) else f"type {type(metric).__name__}"
            raise CaptureError(
                f"the metric {name} has {what}; it must be a tensor of one number: use .mean() or .sum()"
            )
        recorded[name] = metric.detach().reshape(1).to(torch.float32)
    return value, recorded


def with_sum(so_far: dict[str, Tensor], values: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
    """The records of a step after a phase of it: each phase has its loss, and ``loss`` is their sum.

    Raises: CaptureError for a metric that two phases return.
    """
    if not phase:
        return values
    if twice := [name for name in values if name in so_far and name != RESERVED]:
        raise CaptureError(f"two phases return the metric {twice[0]!r}: call them by two names")
    loss = values[RESERVED].reshape(1)
    total = so_far[RESERVED] + loss if so_far else loss
    return {**so_far, **values, RESERVED: total, phase: loss}


def require_all(metrics: Sequence[str], records: dict[str, Tensor]) -> None:
    """Raises: CaptureError if no phase returned a metric."""
    if missing := [name for name in metrics if name not in records]:
        raise CaptureError(f"no phase returned the metric {missing[0]!r}: one of them returns (loss, {{name: number}})")
