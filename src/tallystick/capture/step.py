"""One training step as a pure function of tensors: batch, forward, backward, optimizer, records."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tallystick.capture.batches import batch_positions, shuffled_order
from tallystick.capture.inputs import Input, Role, batch_inputs, from_array, from_tensor, require_finite
from tallystick.capture.optimizers import Optimizer
from tallystick.capture.provenance import SourceRecorder
from tallystick.capture.random import SEEDS, Sampler
from tallystick.errors import CaptureError
from tallystick.spec.limits import STEPS

Loss = Callable[..., Tensor]


class TrainingStep:
    """The step function of a training job, and its inputs in order.

    STATE: ``model.*`` (parameters, then buffers), ``optimizer.<slot>.*``, ``record.loss``. CONSTANT: ``model.*``
    (frozen parameters), ``data.*``, ``order``, ``schedule.*``. STEP: the step number.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        optimizer: Optimizer,
        data: dict[str, object],
        batch_size: int,
        steps: int,
        seed: int,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.batch_size, self.steps, self.seed = batch_size, steps, seed
        parameters = dict(model.named_parameters())
        self.trained = [name for name, p in parameters.items() if p.requires_grad]
        self.frozen = [name for name, p in parameters.items() if not p.requires_grad]
        self.buffers = [name for name, _ in model.named_buffers()]
        if not self.trained:
            raise CaptureError("the model has no parameter with requires_grad=True: there is nothing to train")
        self.decayed = {n for n in self.trained if optimizer.decay is None or optimizer.decay(n, parameters[n])}
        self.data = batch_inputs(data)
        require_signature(loss, model, self.data)
        self.rows = next(iter(self.data.values())).shape[0]
        if self.rows >= STEPS:
            raise CaptureError(f"the data has {self.rows} rows; a program counts them in 31 bits")
        if not 0 <= seed < SEEDS:
            raise CaptureError(f"the seed must be an integer of at most 64 bits, not negative; it is {seed}")
        if batch_size > self.rows:
            raise CaptureError(f"batch_size is {batch_size}, but the data has only {self.rows} rows")
        self.tables = optimizer.tables(optimizer.rates(steps))
        self.inputs = [*self._state(model), *self._constants(model)]
        self.inputs.append(Input("step", Role.STEP, torch.int64, (1,)))

    def _state(self, model: nn.Module) -> Iterator[Input]:
        start = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        for name in self.trained:
            made = model_input(name, Role.STATE, start[name])
            if made.dtype != torch.float32:
                raise CaptureError(f"{made.name} is {made.dtype}: training is in float32; convert with model.float()")
            yield made
        for name in self.buffers:
            yield model_input(name, Role.STATE, start[name])
        for slot in self.optimizer.slots:
            for name in self.trained:
                zeros = np.zeros(tuple(start[name].shape), np.float32)
                yield from_array(f"optimizer.{slot}.{name}", Role.STATE, zeros)
        yield from_array("record.loss", Role.STATE, np.zeros(self.steps, np.float32))

    def _constants(self, model: nn.Module) -> Iterator[Input]:
        parameters = dict(model.named_parameters())
        for name in self.frozen:
            yield model_input(name, Role.CONSTANT, parameters[name])
        yield from self.data.values()
        order = shuffled_order(self.rows, self.seed)
        yield Input("order", Role.CONSTANT, torch.int64, order.shape, order)
        for name, table in self.tables.items():
            yield from_array(f"schedule.{name}", Role.CONSTANT, table)

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The new STATE tensors; called once, under the tracer."""
        at = {made.name: tensor for made, tensor in zip(self.inputs, tensors, strict=True)}
        recorder = SourceRecorder(_Differentiated.forward.__code__, TrainingStep.__call__.__code__)
        with recorder, torch.enable_grad(), Sampler(at["step"], self.seed):
            batch = self._batch(at, recorder)
            value, gradients, buffers = self._differentiate(at, batch, recorder)
        with recorder, torch.no_grad():
            with recorder.section(f"optimizer: {self.optimizer.name}"):
                after = self._optimize(at, gradients)
            with recorder.section("record: loss"):
                after["record.loss"] = torch.scatter(at["record.loss"], 0, at["step"], value.detach().reshape(1))
        after.update({f"model.{name}": tensor.detach() for name, tensor in buffers.items()})
        return [after[made.name] for made in self.inputs if made.role is Role.STATE]

    def _batch(self, at: dict[str, Tensor], recorder: SourceRecorder) -> dict[str, Tensor]:
        """The rows of every data array that this step sees."""
        with recorder.section("batch: rows of the data"):
            positions = batch_positions(at["step"], self.batch_size, self.rows, self.steps)
            rows = at["order"].index_select(0, positions)
        batch: dict[str, Tensor] = {}
        for name, made in self.data.items():
            with recorder.section(f"batch: {name}"):
                batch[name] = at[made.name].index_select(0, rows)
        return batch

    def _differentiate(
        self, at: dict[str, Tensor], batch: dict[str, Tensor], recorder: SourceRecorder
    ) -> tuple[Tensor, dict[str, Tensor | None], dict[str, Tensor]]:
        """Run the user's code. Returns the loss, its gradients (None where it has none), and the buffers afterwards."""
        leaves = {name: at[f"model.{name}"].detach().requires_grad_() for name in self.trained}
        frozen = {name: at[f"model.{name}"] for name in self.frozen}
        buffers = {name: at[f"model.{name}"].clone() for name in self.buffers}
        lent = {f"model.{name}": tensor for name, tensor in (leaves | frozen | buffers).items()}
        module = _Differentiated(self.model, self.loss)
        value, gradients = torch.func.functional_call(module, lent, (batch, leaves, recorder))
        # ``lent`` now has buffers that were assigned anew; those changed in place are the same tensors as before.
        return value, gradients, {name: lent[f"model.{name}"] for name in self.buffers}

    def _optimize(self, at: dict[str, Tensor], gradients: dict[str, Tensor | None]) -> dict[str, Tensor]:
        """Parameters and slots after the step. A parameter the loss does not depend on stays as it is."""
        used = {name: gradient for name, gradient in gradients.items() if gradient is not None}
        if self.optimizer.clip_norm is not None:
            used = clip_by_global_norm(used, self.optimizer.clip_norm)
        factors = {name: at[f"schedule.{name}"].index_select(0, at["step"]).reshape(()) for name in self.tables}
        after: dict[str, Tensor] = {}
        for name in self.trained:
            slots = {slot: at[f"optimizer.{slot}.{name}"] for slot in self.optimizer.slots}
            p = at[f"model.{name}"]
            if name in used:
                p, slots = self.optimizer.update(p, used[name], slots, factors, name in self.decayed)
            after[f"model.{name}"] = p
            after.update({f"optimizer.{slot}.{name}": tensor for slot, tensor in slots.items()})
        return after


class _Differentiated(nn.Module):
    """The user's loss and its gradients as a module around the user's model, so that it can be lent tensors.

    The gradients are taken inside: a checkpoint runs a part of the model again while they are.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(
        self, batch: dict[str, Tensor], leaves: dict[str, Tensor], recorder: SourceRecorder
    ) -> tuple[Tensor, dict[str, Tensor | None]]:
        value = scalar_loss(self.loss(self.model, **batch))
        with recorder.section("backward of the loss"):
            one = torch.ones_like(value)
        gradients = torch.autograd.grad(value, list(leaves.values()), one, allow_unused=True)
        return value, dict(zip(leaves, gradients, strict=True))


def model_input(name: str, role: Role, tensor: Tensor) -> Input:
    """The input of a parameter or buffer, checked to be usable as a start."""
    if is_lazy(tensor):
        raise CaptureError(f"model.{name} has no shape yet: run the model once on a batch before capturing it")
    made = from_tensor(f"model.{name}", role, tensor)
    if isinstance(tensor, nn.Parameter):
        require_finite(made)
    return made


def require_signature(loss: Loss, model: nn.Module, names: Iterable[str]) -> None:
    """Refuse a loss that cannot be called as ``loss(model, **batch)``."""
    try:
        inspect.signature(loss).bind(model, **dict.fromkeys(names))
    except TypeError as error:
        given = ", ".join(f"{name}=..." for name in names)
        raise CaptureError(
            f"the loss is called as loss(model, {given}), with the names of the data: {error}"
        ) from error


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


def clip_by_global_norm(gradients: dict[str, Tensor], limit: float) -> dict[str, Tensor]:
    """Gradients scaled so that their norm together is at most ``limit``, as ``clip_grad_norm_``."""
    # Rows are summed first: each is a short fold of its own, so large parameters are summed by all threads.
    sums = [(g * g).flatten(1).sum(1).sum() if g.ndim > 1 else (g * g).sum() for g in gradients.values()]
    while len(sums) > 1:
        sums = [reduce(add, sums[i : i + 8]) for i in range(0, len(sums), 8)]
    scale = (limit / (sums[0].sqrt() + 1e-6)).clamp(max=1.0)
    return {name: gradient * scale for name, gradient in gradients.items()}
