"""One training step as a pure function of tensors: batch, forward, backward, update, records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tallystick.capture.inputs import Input, Role, batch_inputs, from_array, from_tensor, require_finite
from tallystick.capture.optimizers.ema import EMA
from tallystick.capture.optimizers.optimizer import Optimizer
from tallystick.capture.steps.batches import shuffled_order
from tallystick.capture.steps.belongings import Belonging, Belongings, Borrower
from tallystick.capture.steps.hooks import after_accumulation, lend_hooks, refuse_new_hooks, refuse_own_backward
from tallystick.capture.steps.loss import require_all, require_names, with_metrics, with_sum
from tallystick.capture.steps.narrowing import SCALE, WIDENED, dequantized, quantized, stored_narrow
from tallystick.capture.steps.orders import ORDER, Shuffle, rows_of_batch
from tallystick.capture.steps.phases import Losses, Optimizers, Phase, make_phases, require_signatures
from tallystick.capture.steps.update import Update
from tallystick.capture.storage import Storage
from tallystick.capture.tracing.provenance import SourceRecorder
from tallystick.capture.tracing.random import SEEDS, Sampler
from tallystick.capture.watching.surroundings import Range
from tallystick.capture.watching.watch import Watch
from tallystick.errors import CaptureError
from tallystick.spec.limits import STEPS


class TrainingStep:
    """The step function of a training job, and its inputs in order.

    STATE: ``model.*`` (parameters, then buffers), those of ``Update``, ``record.loss`` and ``record.<metric>``, then
    frozen parameters, which are constants unless the step writes them. CONSTANT: scales of quantised parameters,
    ``data.*``, ``order``, those of ``Update``. STEP: the step number. What other modules than the model hold is
    ``loss.*`` among them.
    """

    def __init__(
        self,
        belongings: Belongings,
        loss: Losses,
        optimizer: Optimizers,
        data: Mapping[str, object],
        batch_size: int,
        steps: int,
        seed: int,
        accumulate: int = 1,
        ema: EMA | None = None,
        storage: Storage | None = None,
        metrics: Sequence[str] = (),
        shuffle: Shuffle = "once",
    ) -> None:
        self.own, self.model = belongings, belongings.model
        self.shuffle: Shuffle = shuffle
        self.batch_size, self.steps, self.seed, self.accumulate = batch_size, steps, seed, accumulate
        self.storage = Storage() if storage is None else storage
        if not self.own.trained:
            raise CaptureError("the model has no parameter with requires_grad=True: there is nothing to train")
        self.data = batch_inputs(data)
        require_names(metrics)
        self.metrics = tuple(metrics)
        self.rows = next(iter(self.data.values())).shape[0]
        if self.rows >= STEPS:
            raise CaptureError(f"the data has {self.rows} rows; a program counts them in 31 bits")
        if not 0 <= seed < SEEDS:
            raise CaptureError(f"the seed must be an integer of at most 64 bits, not negative; it is {seed}")
        if batch_size > self.rows:
            raise CaptureError(f"batch_size is {batch_size}, but the data has only {self.rows} rows")
        wide = {key: trained_input(own) for key, own in self.own.trained.items()}
        slots = {key: own.slot for key, own in self.own.trained.items()}
        tensors = {key: own.tensor for key, own in self.own.trained.items()}

        def update(optimizer: Optimizer, group: dict[str, Tensor], prefix: str, number: int) -> Update:
            return Update(optimizer, group, slots, steps, seed, accumulate, ema, self.storage, prefix, number)

        self.phases = make_phases(optimizer, loss, tensors, update)
        self.updates = [update for phase in self.phases for update in phase.updates]
        require_signatures(self.phases, self.model, list(self.data))
        self.inputs = [*self._state(wide), *self._frozen_inputs(), *self._constants()]
        self._made: list[list[str]] = []  # names of the records, gradients and slots that differentiating made
        self.inputs.append(Input("step", Role.STEP, torch.int64, (1,)))

    def _state(self, wide: Mapping[str, Input]) -> Iterator[Input]:
        for made in wide.values():
            yield stored_narrow(made, self.storage.trained)
        for own in self.own.buffers.values():
            yield belonging_input(own, Role.STATE)
        for update in self.updates:
            yield from update.state({key: wide[key] for key in update.names})
        for name in ("loss", *(phase.name for phase in self.phases if phase.name), *self.metrics):
            yield from_array(f"record.{name}", Role.STATE, np.zeros(self.steps, np.float32))

    def _frozen_inputs(self) -> Iterator[Input]:
        """Frozen parameters: state, in case that the step writes them; quantised ones are constants."""
        for own in self.own.frozen.values():
            made = belonging_input(own, Role.STATE)
            if self.storage.frozen != "int8":
                yield stored_narrow(made, self.storage.frozen)
            elif made.dtype == torch.float32 and len(made.shape) > 1:
                yield from quantized(made)
            else:
                yield made

    def _constants(self) -> Iterator[Input]:
        yield from self.data.values()
        if self.shuffle == "once":
            order = shuffled_order(self.rows, self.seed)
            yield Input(ORDER, Role.CONSTANT, torch.int64, order.shape, order)
        for update in self.updates:
            yield from update.constants()

    @property
    def steady(self) -> frozenset[str]:
        """Names of the inputs that may turn out to be the same in every step."""
        return frozenset(own.slot for own in (*self.own.buffers.values(), *self.own.frozen.values()))

    @property
    def ranges(self) -> dict[str, Range]:
        return {"step": (0, self.steps - 1), "order": (0, self.rows - 1)}

    def differentiate(self, tensors: Sequence[Tensor], watch: Watch) -> list[Tensor]:
        """Records, gradients (of parameters that have one) and what was written; called under the tracer.

        All phases but the last are finished here, for the last begins from what they have updated.
        """
        at = self._named(tensors)
        recorder = SourceRecorder(TrainingStep.differentiate.__code__, watch=watch)
        records: dict[str, Tensor] = {}
        gradients: dict[str, Tensor | None] = {}
        written: dict[str, Tensor] = {}
        with recorder, torch.enable_grad(), Sampler(at["step"], self.seed, reseeding=False):
            batch = self._batch(at, recorder)
            for phase in self.phases:
                values, gradients, mine = self._differentiate(at | written, batch, recorder, watch, phase)
                records = with_sum(records, values, phase.name)
                written |= mine
                if phase is not self.phases[-1]:
                    with torch.no_grad():
                        written |= self._updated(phase, at | written, gradients, written, recorder)
        require_all(self.metrics, records)
        used = {name: gradient for name, gradient in gradients.items() if gradient is not None}
        self._made = [list(group) for group in (records, used, written)]
        return [*records.values(), *used.values(), *written.values()]

    def _updated(
        self,
        phase: Phase,
        at: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor | None],
        written: Mapping[str, Tensor],
        recorder: SourceRecorder,
    ) -> dict[str, Tensor]:
        """The slots after the updates of a phase."""
        after: dict[str, Tensor] = {}
        for update in phase.updates:
            mine = {key: gradients[key] for key in update.names if key in gradients}
            after |= update(at, mine, written, recorder)
        return after

    def look(self, tensors: Sequence[Tensor]) -> None:
        """Run the user's loss alone, unwatched, to see which tensors it uses."""
        at = self._named(tensors)
        recorder = SourceRecorder(TrainingStep.look.__code__)
        lent = {own.place: at[own.slot].to(own.tensor.dtype).clone() for own in self.own.all().values()}
        with torch.enable_grad(), Sampler(at["step"], self.seed, reseeding=False):
            batch = self._batch(at, recorder)
            losses = [phase.loss for phase in self.phases]
            torch.func.functional_call(
                Borrower(self.own), lent, (lambda: [loss(self.model, **batch) for loss in losses],)
            )

    def finish(self, tensors: Sequence[Tensor], made: Sequence[Tensor]) -> list[Tensor]:
        """The new STATE tensors, of the inputs and of what ``differentiate`` returned; called once, under the tracer.

        A phase of its own, for it has neither autograd nor in-place operators: half of a step's operators need to be
        traced only once.
        """
        at, results = self._named(tensors), iter(made)
        records, gradients, written = ({name: next(results) for name in names} for names in self._made)
        recorder = SourceRecorder(TrainingStep.finish.__code__)
        with recorder, torch.no_grad():
            after = written | self._updated(self.phases[-1], at | written, gradients, written, recorder)
            for name, value in records.items():
                with recorder.section(f"record: {name}"):
                    after[f"record.{name}"] = torch.scatter(at[f"record.{name}"], 0, at["step"], value.reshape(1))
        return [after.get(made.name, at[made.name]) for made in self.inputs if made.role is Role.STATE]

    def _named(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        return {made.name: tensor for made, tensor in zip(self.inputs, tensors, strict=True)}

    def _batch(self, at: dict[str, Tensor], recorder: SourceRecorder) -> dict[str, Tensor]:
        """The rows of every data array that this step sees."""
        with recorder.section("batch: rows of the data"):
            rows = rows_of_batch(self.shuffle, at, self.batch_size, self.rows, self.steps, self.seed)
        batch: dict[str, Tensor] = {}
        for name, made in self.data.items():
            with recorder.section(f"batch: {name}"):
                batch[name] = at[made.name].index_select(0, rows)
        return batch

    def _differentiate(
        self, at: dict[str, Tensor], batch: dict[str, Tensor], recorder: SourceRecorder, watch: Watch, phase: Phase
    ) -> tuple[dict[str, Tensor], dict[str, Tensor | None], dict[str, Tensor]]:
        """Run the user's code. Returns the records, the gradients (None where there is none), and slots it wrote."""
        with recorder.section(WIDENED):
            leaves = {key: self._leaf(at, self.own.trained[key]) for key in self.own.trained if key in phase.keys}
            rest = [own for key, own in self.own.trained.items() if key not in leaves]
            others = {own.slot: at[own.slot].to(torch.float32).clone() for own in rest}
            others |= {own.slot: self._seen(at, own) for own in self.own.frozen.values()}
            others |= {own.slot: at[own.slot].clone() for own in self.own.buffers.values()}
        by_slot = others | {self.own.trained[key].slot: leaf for key, leaf in leaves.items()}
        place = {own.slot: own.place for own in self.own.all().values()}
        lent = {place[slot]: watch.lend(slot, tensor) for slot, tensor in by_slot.items()}
        run = _Differentiated(self, phase, batch, leaves, recorder)
        records, gradients = torch.func.functional_call(Borrower(self.own), lent, (run,))
        # ``lent`` now has tensors that were assigned anew; those changed in place are the same tensors as before.
        after = {slot: lent[place[slot]].detach() for slot in by_slot}
        watch.leave(after)
        return records, gradients, self._written(after, watch, phase)

    def _leaf(self, at: dict[str, Tensor], own: Belonging) -> Tensor:
        """What the model is lent for a trained parameter."""
        leaf = at[own.slot].to(torch.float32).clone().detach().requires_grad_()
        lend_hooks(own.tensor, leaf)
        return leaf

    def _seen(self, at: dict[str, Tensor], own: Belonging) -> Tensor:
        """A frozen parameter as the model sees it."""
        stored, scale = at[own.slot], at.get(own.slot + SCALE)
        return stored.to(own.tensor.dtype).clone() if scale is None else dequantized(stored, scale)

    def _written(self, after: dict[str, Tensor], watch: Watch, phase: Phase) -> dict[str, Tensor]:
        """The slots that the step wrote, all buffers among them. Raises: CaptureError if they cannot be kept."""
        buffers = {own.slot for own in self.own.buffers.values()}
        written = {slot: t for slot, t in after.items() if slot in buffers or watch.changed(slot, t)}
        own_by_slot = {own.slot: own for own in self.own.all().values()}
        for slot, tensor in written.items():
            own = own_by_slot[slot]
            if tensor.shape != own.tensor.shape or tensor.dtype != own.tensor.dtype:
                raise CaptureError(
                    f"the step makes {slot} a {tensor.dtype} of shape {tuple(tensor.shape)}; it was a "
                    f"{own.tensor.dtype} of shape {tuple(own.tensor.shape)}, and a state keeps its type"
                )
            if own.key in self.own.frozen and self.storage.frozen is not None:
                raise CaptureError(
                    f"the step writes {slot}, which storage=Storage(frozen={self.storage.frozen!r}) keeps as a "
                    "constant: make it a buffer, or leave frozen out"
                )
            if own.key in self.own.trained and self.storage.master:
                raise CaptureError(
                    f"the step writes {slot}, which storage=Storage(master=True) makes anew from its float32 copy "
                    "after every step: leave master out"
                )
            if own.key in self.own.trained and own.key not in phase.keys and self.storage.trained is not None:
                raise CaptureError(
                    f"the phase {phase.name!r} writes {slot}, which another phase trains and storage keeps narrow: "
                    "write it in its own phase, or leave storage out"
                )
        return written


class _Differentiated:
    """The user's loss and its gradients, to be run while the model is lent tensors.

    The gradients are taken inside: a checkpoint runs a part of the model again while they are. They are those of the
    loss divided by the number of batches of an update.
    """

    def __init__(
        self,
        step: TrainingStep,
        phase: Phase,
        batch: dict[str, Tensor],
        leaves: dict[str, Tensor],
        recorder: SourceRecorder,
    ) -> None:
        self.step, self.phase, self.batch, self.leaves, self.recorder = step, phase, batch, leaves, recorder

    def __call__(self) -> tuple[dict[str, Tensor], dict[str, Tensor | None]]:
        step, leaves = self.step, self.leaves
        owns = {key: step.own.trained[key].tensor for key in leaves}
        returned = self.phase.loss(step.model, **self.batch)
        value, recorded = with_metrics(returned, step.metrics, every=not self.phase.name)
        refuse_new_hooks(owns, leaves)
        refuse_own_backward(leaves)
        with self.recorder.section("backward of the loss"):
            share = torch.full_like(value, 1.0 / step.accumulate)
        found = torch.autograd.grad(value, list(leaves.values()), share, allow_unused=True)
        gradients: dict[str, Tensor | None] = dict(zip(leaves, found, strict=True))
        step.own.refuse_hidden(key for key, gradient in gradients.items() if gradient is not None)
        gradients = after_accumulation(owns, leaves, gradients, step.accumulate)
        return {"loss": value.detach(), **recorded}, gradients


def belonging_input(own: Belonging, role: Role) -> Input:
    """The input of a parameter or buffer of the job, checked to be usable as a start."""
    return checked_input(own.slot, role, own.tensor)


def checked_input(slot: str, role: Role, tensor: Tensor) -> Input:
    """The input of a parameter or buffer. Raises: CaptureError for one without a shape, or a parameter that is NaN."""
    if is_lazy(tensor):
        raise CaptureError(f"{slot} has no shape yet: run the model once on a batch before capturing it")
    made = from_tensor(slot, role, tensor)
    if isinstance(tensor, nn.Parameter):
        require_finite(made)
    return made


def trained_input(own: Belonging) -> Input:
    """The input of a trained parameter, which must be float32."""
    made = belonging_input(own, Role.STATE)
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
