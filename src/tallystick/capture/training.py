"""Capturing a training job: from a module, a loss, an optimizer and data to a program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from tallystick.capture.dtypes import storage_dtype
from tallystick.capture.inputs import Input, Role
from tallystick.capture.lowering import Slot, lower
from tallystick.capture.optimizers.ema import EMA
from tallystick.capture.reach.modules import hidden_modules, unwrapped, used_modules
from tallystick.capture.reach.world import World
from tallystick.capture.steps.belongings import Belongings
from tallystick.capture.steps.narrowing import WIDENED, sink
from tallystick.capture.steps.orders import shuffle_of
from tallystick.capture.steps.phases import Losses, Optimizers, require_kinds
from tallystick.capture.steps.training_step import TrainingStep
from tallystick.capture.storage import Storage
from tallystick.capture.tracing.provenance import user_line_of
from tallystick.capture.tracing.trace import Trace, trace
from tallystick.capture.watching.surroundings import Surroundings
from tallystick.errors import CaptureError, TallystickError
from tallystick.ir.captured import Captured
from tallystick.spec.limits import STEPS
from tallystick.spec.tensors import TensorType

TRAINED_ALL_THE_SAME = (
    "the model is in evaluation mode as a whole: it is trained in training mode, as after model.train(). Parts that "
    "are to "
    "stay in evaluation mode, such as frozen batch norms, are put into it after model.train()"
)


def capture_training(
    *,
    model: nn.Module,
    loss: Losses,
    optimizer: Optimizers,
    data: Mapping[str, object],
    batch_size: int,
    steps: int,
    seed: int = 0,
    accumulate: int = 1,
    ema: float | EMA | None = None,
    storage: Storage | None = None,
    metrics: Sequence[str] = (),
    first_step: int = 0,
    shuffle: str | None = "once",
) -> Captured:
    """The program of a training job, with its start state and its constants.

    ``loss(model, **batch)`` returns a scalar float32 tensor. Several optimizers, and several losses with their names,
    are
    phases: see ``steps.phases``. ``data`` has one array per name of the batch, with one
    row per example. The batch of step s is the rows order[(s * batch_size + j) % rows], where ``order`` is a
    permutation that the seed decides; ``shuffle`` may make it another one in every epoch. State: ``model.*``,
    ``optimizer.<slot>.*`` and ``record.loss`` (float32[steps], element s written at step s).

    ``accumulate``  every so many steps there is one update, with the mean of their gradients; sums are ``gradient.*``
    ``ema``         a decay: ``ema.*`` are averages of the trained parameters
    ``storage``     which tensors are stored narrow
    ``metrics``     names: the loss returns (loss, {name: number}), and ``record.<name>`` is like ``record.loss``
    ``shuffle``     "once", "epoch" for a new order in every epoch, None for the rows as they are
    ``first_step``  step 0 of the program is this one of the ``steps``, for jobs that go on where another ended

    Raises: CaptureError naming what cannot be captured, and the user's line where there is one.
    """
    traced = trace_training(
        model=model,
        loss=loss,
        optimizer=optimizer,
        data=data,
        batch_size=batch_size,
        steps=steps,
        seed=seed,
        accumulate=accumulate,
        ema=ema,
        storage=storage,
        metrics=metrics,
        shuffle=shuffle,
    )
    made = captured(traced, first_step)
    return made if model.training else replace(made, notes=(*made.notes, TRAINED_ALL_THE_SAME))


def captured(traced: Trace, first_step: int = 0) -> Captured:
    """A traced step, lowered."""
    with explained():
        lowered = lower(traced.graph, [slot(made, first_step) for made in traced.inputs])
    state = [made for made in traced.inputs if made.role is Role.STATE]
    constants = [made for made in traced.inputs if made.role is Role.CONSTANT]
    return Captured(
        program=lowered.program,
        state=[stored(made) for made in state],
        constants=[stored(made) for made in constants],
        state_names=[made.name for made in state],
        constant_names=[made.name for made in constants],
        sources=lowered.sources,
        notes=tuple(made.note for made in traced.inputs if made.note),
    )


def slot(made: Input, first_step: int = 0) -> Slot:
    """What lowering has to know of an input."""
    if made.role is Role.STEP:
        return Slot(None, first_step=first_step)
    return Slot(TensorType(storage_dtype(made.dtype), made.shape), made.role is Role.STATE)


def stored(made: Input) -> np.ndarray:
    """The array of a slot, dense and row-major."""
    assert made.array is not None, "every slot holds data"
    return made.array if made.array.flags.c_contiguous else np.ascontiguousarray(made.array)


def trace_training(
    *,
    model: nn.Module,
    loss: Losses,
    optimizer: Optimizers,
    data: Mapping[str, object],
    batch_size: int,
    steps: int,
    seed: int = 0,
    accumulate: int = 1,
    ema: float | EMA | None = None,
    storage: Storage | None = None,
    metrics: Sequence[str] = (),
    shuffle: str | None = "once",
) -> Trace:
    """The traced step of a training job. Neither the model nor PyTorch's global state is changed.

    Raises: CaptureError naming what cannot be captured, and the user's line where there is one.
    """
    for name, value in (("batch_size", batch_size), ("steps", steps), ("accumulate", accumulate)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < STEPS:
            raise CaptureError(f"{name} must be a whole number from 1 to {STEPS - 1}, not {value!r}")
    if steps % accumulate:
        fewer, more = steps // accumulate * accumulate, (steps // accumulate + 1) * accumulate
        raise CaptureError(
            f"steps={steps} counts batches, and accumulate={accumulate} of them make one update: the last "
            f"{steps - fewer} would never be used. Take steps={more}" + (f" or steps={fewer}" if fewer else "")
        )
    if storage is not None and not isinstance(storage, Storage):
        raise CaptureError(f"storage is a ts.Storage, such as ts.Storage(frozen='int8'), not {storage!r}")
    require_kinds(optimizer, loss)
    average, order = EMA.of(ema), shuffle_of(shuffle)
    model = unwrapped(model)
    with torch.random.fork_rng(devices=[]), _training_mode(model), explained():
        world = World([("model", model), ("loss", loss)])

        def made(others: Mapping[str, nn.Module]) -> TrainingStep:
            owned = Belongings(model, others, hidden_modules(world))
            return TrainingStep(
                owned, loss, optimizer, data, batch_size, steps, seed, accumulate, average, storage, metrics, order
            )

        step = made(used_modules(model, world, made))
        own = step.own.tensors()
        around = Surroundings(step.inputs, step.steady, step.ranges, steps=steps, trains=True, own=own)
        traced = trace(step.differentiate, around, world, rest=step.finish)
    sink(traced.graph, WIDENED)
    return traced


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
def explained() -> Iterator[None]:
    """Say what went wrong while tracing, and where in the user's code."""
    try:
        yield
    except TallystickError:
        raise
    except Exception as error:
        line = user_line_of(error.__traceback__)
        where = "" if line is None else f"{line}\n  "
        raise CaptureError(f"{where}{type(error).__name__}: {error}") from error
