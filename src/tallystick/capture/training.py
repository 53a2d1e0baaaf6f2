"""Capturing a training job: from a module, a loss, an optimizer and data to a program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from tallystick.capture.optimizers import Optimizer
from tallystick.capture.provenance import user_line_of
from tallystick.capture.step import Loss, TrainingStep
from tallystick.capture.trace import Trace, trace
from tallystick.errors import CaptureError
from tallystick.spec.limits import STEPS


def trace_training(
    *,
    model: nn.Module,
    loss: Loss,
    optimizer: Optimizer,
    data: Mapping[str, object],
    batch_size: int,
    steps: int,
    seed: int = 0,
) -> Trace:
    """The traced step of a training job. Neither the model nor PyTorch's global state is changed.

    Raises: CaptureError naming what cannot be captured, and the user's line where there is one.
    """
    for name, value, limit in (("batch_size", batch_size, STEPS), ("steps", steps, STEPS)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < limit:
            raise CaptureError(f"{name} must be a whole number from 1 to {limit - 1}, not {value!r}")
    with torch.random.fork_rng(devices=[]), _training_mode(model), _explained():
        step = TrainingStep(model, loss, optimizer, dict(data), batch_size, steps, seed)
        return trace(step, step.inputs)


@contextlib.contextmanager
def _training_mode(model: nn.Module) -> Iterator[None]:
    """A model in evaluation mode is trained in training mode; one in training mode keeps its modules' own modes."""
    modes = [(module, module.training) for module in model.modules()]
    if not model.training:
        model.train()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Say what went wrong while tracing, and where in the user's code."""
    try:
        yield
    except CaptureError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        line = user_line_of(error.__traceback__)
        if line is None:
            raise
        raise CaptureError(f"{line}\n  {type(error).__name__}: {error}") from error
