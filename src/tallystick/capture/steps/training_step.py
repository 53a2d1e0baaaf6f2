"""One training step as a pure function of tensors: batch, forward, backward, update, records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tallystick.capture.inputs import (
    Input,
    Role,
    batch_inputs,
    from_array,
    from_tensor,
    require_finite,
    stored_buffers,
)
from tallystick.capture.optimizers.ema import EMA
from tallystick.capture.optimizers.optimizer import Optimizer
from tallystick.capture.steps.batches import batch_positions, shuffled_order
from tallystick.capture.steps.loss import Loss, require_names, require_signature, with_metrics
from tallystick.capture.steps.narrowing import SCALE, WIDENED, dequantized, quantized, stored_narrow
from tallystick.capture.steps.update import Update
from tallystick.capture.storage import Storage
from tallystick.capture.tracing.provenance import SourceRecorder
from tallystick.capture.tracing.random import SEEDS, Sampler
from tallystick.errors import CaptureError
from tallystick.spec.limits import STEPS


class TrainingStep:
    """The step function of a training job, and its inputs in order.

    STATE: ``model.*`` (parameters, then buffers), those of ``Update``, ``record.loss`` and ``record.<metric>``.
    CONSTANT: ``model.*`` (frozen parameters), ``data.*``, ``order``, those of ``Update``. STEP: the step number.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        optimizer: Optimizer,
        data: Mapping[str, object],
        batch_size: int,
        steps: int,
        seed: int,
        accumulate: int = 1,
        ema: EMA | None = None,
        storage: Storage | None = None,
        metrics: Sequence[str] = (),
    ) -> None:
        self.model, self.loss = model, loss
        self.batch_size, self.steps, self.seed, self.accumulate = batch_size, steps, seed, accumulate
        self.storage = Storage() if storage is None else storage
        parameters = dict(model.named_parameters())
        trained = {name: p for name, p in parameters.items() if p.requires_grad}
        self.trained = list(trained)
        self.frozen = [name for name in parameters if name not in trained]
        self.buffers = list(stored_buffers(model))
        if not self.trained:
            raise CaptureError("the model has no parameter with requires_grad=True: there is nothing to train")
        self.data = batch_inputs(data)
        require_signature(loss, model, self.data)
        require_names(metrics)
        self.metrics = tuple(metrics)
        self.rows = next(iter(self.data.values())).shape[0]
        if self.rows >= STEPS:
            raise CaptureError(f"the data has {self.rows} rows; a program counts them in 31 bits")
        if not 0 <= seed < SEEDS:
            raise CaptureError(f"the seed must be an integer of at most 64 bits, not negative; it is {seed}")
        if batch_size > self.rows:
            raise CaptureError(f"batch_size is {batch_size}, but the data has only {self.rows} rows")
        wide = {name: trained_input(name, p) for name, p in trained.items()}
        self.update = Update(optimizer, trained, steps, seed, accumulate, ema, self.storage)
        self.inputs = [*self._state(model, wide), *self._constants(model)]
        self._made: list[list[str]] = []  # names of the records, gradients and buffers that differentiating made
        self.inputs.append(Input("step", Role.STEP, torch.int64, (1,)))

    def _state(self, model: nn.Module, wide: Mapping[str, Input]) -> Iterator[Input]:
        for made in wide.values():
            yield stored_narrow(made, self.storage.trained)
        for name, buffer in stored_buffers(model).items():
            yield model_input(name, Role.STATE, buffer)
        yield from self.update.state(wide)
        for name in ("loss", *self.metrics):
            yield from_array(f"record.{name}", Role.STATE, np.zeros(self.steps, np.float32))

    def _constants(self, model: nn.Module) -> Iterator[Input]:
        parameters = dict(model.named_parameters())
        for name in self.frozen:
            made = model_input(name, Role.CONSTANT, parameters[name])
            if self.storage.frozen != "int8":
                yield stored_narrow(made, self.storage.frozen)
            elif made.dtype == torch.float32 and len(made.shape) > 1:
                yield from quantized(made)
            else:
                yield made
        yield from self.data.values()
        order = shuffled_order(self.rows, self.seed)
        yield Input("order", Role.CONSTANT, torch.int64, order.shape, order)
        yield from self.update.constants()

    def differentiate(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Records, gradients (of parameters that have one) and buffers; called once, under the tracer."""
        at = self._named(tensors)
        recorder = SourceRecorder(_Differentiated.forward.__code__, TrainingStep.differentiate.__code__)
        with recorder, torch.enable_grad(), Sampler(at["step"], self.seed):
            batch = self._batch(at, recorder)
            records, gradients, buffers = self._differentiate(at, batch, recorder)
        used = {name: gradient for name, gradient in gradients.items() if gradient is not None}
        self._made = [list(group) for group in (records, used, buffers)]
        return [*records.values(), *used.values(), *(tensor.detach() for tensor in buffers.values())]

    def finish(self, tensors: Sequence[Tensor], made: Sequence[Tensor]) -> list[Tensor]:
        """The new STATE tensors, of the inputs and of what ``differentiate`` returned; called once, under the tracer.

        A phase of its own, for it has neither autograd nor in-place operators: half of a step's operators need to be
        traced only once.
        """
        at, results = self._named(tensors), iter(made)
        records, gradients, buffers = ({name: next(results) for name in names} for names in self._made)
        recorder = SourceRecorder(TrainingStep.finish.__code__)
        with recorder, torch.no_grad():
            after = self.update(at, gradients, recorder)
            for name, value in records.items():
                with recorder.section(f"record: {name}"):
                    after[f"record.{name}"] = torch.scatter(at[f"record.{name}"], 0, at["step"], value.reshape(1))
        after.update({f"model.{name}": tensor for name, tensor in buffers.items()})
        return [after.get(made.name, at[made.name]) for made in self.inputs if made.role is Role.STATE]

    def _named(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        return {made.name: tensor for made, tensor in zip(self.inputs, tensors, strict=True)}

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
    ) -> tuple[dict[str, Tensor], dict[str, Tensor | None], dict[str, Tensor]]:
        """Run the user's code. Returns the records, the gradients (None where there is none), and the buffers after."""
        with recorder.section(WIDENED):
            leaves = {name: at[f"model.{name}"].to(torch.float32).detach().requires_grad_() for name in self.trained}
            frozen = self._frozen(at)
        buffers = {name: at[f"model.{name}"].clone() for name in self.buffers}
        lent = {f"model.{name}": tensor for name, tensor in (leaves | frozen | buffers).items()}
        module = _Differentiated(self.model, self.loss, self.metrics, 1.0 / self.accumulate)
        records, gradients = torch.func.functional_call(module, lent, (batch, leaves, recorder))
        # ``lent`` now has buffers that were assigned anew; those changed in place are the same tensors as before.
        return records, gradients, {name: lent[f"model.{name}"] for name in self.buffers}

    def _frozen(self, at: dict[str, Tensor]) -> dict[str, Tensor]:
        """The frozen parameters as the model sees them."""
        own = dict(self.model.named_parameters())
        seen: dict[str, Tensor] = {}
        for name in self.frozen:
            stored, scale = at[f"model.{name}"], at.get(f"model.{name}{SCALE}")
            seen[name] = stored.to(own[name].dtype) if scale is None else dequantized(stored, scale)
        return seen


class _Differentiated(nn.Module):
    """The user's loss and its gradients as a module around the user's model, so that it can be lent tensors.

    The gradients are taken inside: a checkpoint runs a part of the model again while they are. They are those of the
    loss times ``share``.
    """

    def __init__(self, model: nn.Module, loss: Loss, metrics: Sequence[str], share: float) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.metrics = metrics
        self.share = share

    def forward(
        self, batch: dict[str, Tensor], leaves: dict[str, Tensor], recorder: SourceRecorder
    ) -> tuple[dict[str, Tensor], dict[str, Tensor | None]]:
        value, recorded = with_metrics(self.loss(self.model, **batch), self.metrics)
        with recorder.section("backward of the loss"):
            share = torch.full_like(value, self.share)
        gradients = torch.autograd.grad(value, list(leaves.values()), share, allow_unused=True)
        return {"loss": value.detach(), **recorded}, dict(zip(leaves, gradients, strict=True))


def model_input(name: str, role: Role, tensor: Tensor) -> Input:
    """The input of a parameter or buffer, checked to be usable as a start."""
    if is_lazy(tensor):
        raise CaptureError(f"model.{name} has no shape yet: run the model once on a batch before capturing it")
    made = from_tensor(f"model.{name}", role, tensor)
    if isinstance(tensor, nn.Parameter):
        require_finite(made)
    return made


def trained_input(name: str, tensor: Tensor) -> Input:
    """The input of a trained parameter, which must be float32."""
    made = model_input(name, Role.STATE, tensor)
    if made.dtype.is_complex:
        raise CaptureError(
            f"{made.name} is {made.dtype}: what is trained is real. Keep nn.Parameter(torch.view_as_real(weight)), and "
            "use torch.view_as_complex(self.weight) in the model; optimizers do the same with it"
        )
    if made.dtype != torch.float32:
        raise CaptureError(
            f"{made.name} is {made.dtype}: training is in float32. Convert the model with .float(); to store its "
            "weights narrow all the same, give the job storage=ts.Storage(trained='bf16')"
        )
    return made
