"""What a training step does with its gradients: accumulate, clip, update parameters, store them, average them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tallystick.capture.inputs import Input, Role, from_array
from tallystick.capture.optimizers.clipping import clip_by_global_norm, clip_by_value
from tallystick.capture.optimizers.ema import EMA, averaged
from tallystick.capture.optimizers.optimizer import Optimizer
from tallystick.capture.optimizers.schedules import Schedule, evaluate
from tallystick.capture.steps.narrowing import NARROW, stored_narrow
from tallystick.capture.storage import Storage
from tallystick.capture.tracing.provenance import SourceRecorder

MASTER, GRADIENT, AVERAGE = "optimizer.master", "gradient", "ema"
ROUNDINGS = 1 << 20  # of one group of parameters
ROUNDING_SITE = 0xFFFFFFFE  # of the random words that round; it counts down, those of the model's draws count up


class Moment(NamedTuple):
    """Where a program step stands: its number, shape (1,), how many updates came before it, and whether it updates.

    ``last`` is a truth value of shape (): the batch completes what is accumulated. None where every step does.
    """

    step: Tensor
    update: Tensor
    last: Tensor | None

    def choose(self, new: Tensor, old: Tensor) -> Tensor:
        """The new value if this step updates, else the old one."""
        return new if self.last is None else torch.where(self.last, new, old)


class Update:
    """The optimizer's part of a training step, and the slots it keeps.

    STATE: ``optimizer.<slot>.*``, ``optimizer.master.*``, ``gradient.*`` (sums over the batches so far) and ``ema.*``.
    CONSTANT: ``schedule.*``, or ``schedule.<group>.*`` where there are several groups. Every ``accumulate``-th step
    updates; the others only add to the gradients.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        parameters: Mapping[str, Tensor],
        slots: Mapping[str, str],
        steps: int,
        seed: int,
        accumulate: int,
        ema: EMA | None,
        storage: Storage,
        prefix: str = "",
        group: int = 0,
    ) -> None:
        self.optimizer, self.seed, self.accumulate, self.ema, self.storage = optimizer, seed, accumulate, ema, storage
        self.names = list(parameters)
        self.slots = slots  # of the parameters
        self.updates = steps // accumulate
        self.own = {name: optimizer.of(name, p) for name, p in parameters.items()}
        self.starts = {name: self.own[name].start(tuple(p.shape)) for name, p in parameters.items()}
        self.tables: dict[str, np.ndarray] = {}
        self.factors = self._schedules()
        self.prefix = f"schedule.{prefix}"  # of the names of its tables
        self._group, self._rounded = group, 0

    # SLOTS
    def state(self, model: Mapping[str, Input]) -> Iterator[Input]:
        """The slots it keeps, from the parameters as they start in float32."""
        for slot in dict.fromkeys(slot for start in self.starts.values() for slot in start):
            for name, start in self.starts.items():
                if slot in start:
                    yield stored_narrow(
                        from_array(f"optimizer.{slot}.{name}", Role.STATE, start[slot]), self.storage.moments
                    )
        copies = {MASTER: self.storage.master, GRADIENT: self.accumulate > 1, AVERAGE: self.ema is not None}
        for prefix, wanted in copies.items():
            for name, made in model.items() if wanted else ():
                array = np.zeros(made.shape, np.float32) if prefix == GRADIENT else made.array
                assert array is not None, "a parameter has a start"
                yield from_array(f"{prefix}.{name}", Role.STATE, array)

    def constants(self) -> Iterator[Input]:
        for name, table in self.tables.items():
            yield from_array(f"{self.prefix}{name}", Role.CONSTANT, table)

    def _schedules(self) -> dict[str, dict[str, str]]:
        """For every parameter the table of each of its factors; parameters with equal factors share a table."""
        known: list[tuple[Optimizer, dict[str, str]]] = []
        called: list[tuple[Schedule | None, list[float]]] = []
        found: dict[str, dict[str, str]] = {}
        for name, own in self.own.items():
            tables = next((tables for other, tables in known if other == own), None)
            if tables is None:
                factors = next((factors for schedule, factors in called if schedule is own.schedule), None)
                if factors is None:
                    factors = evaluate(own.schedule, self.updates)
                    called.append((own.schedule, factors))
                made = own.tables([own.lr * factor for factor in factors])
                tables = {factor: self._table(factor, table) for factor, table in made.items()}
                known.append((own, tables))
            found[name] = tables
        if self.ema is not None:
            self.tables["ema"] = self.ema.weights(self.updates)
        return found

    def _table(self, factor: str, table: np.ndarray) -> str:
        """The name of a table with these values, made if there is none."""
        number, name = 1, factor
        while name in self.tables and not np.array_equal(self.tables[name], table):
            number += 1
            name = f"{factor}.{number}"
        self.tables.setdefault(name, table)
        return name

    # THE STEP
    def __call__(
        self,
        at: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor | None],
        written: Mapping[str, Tensor],
        recorder: SourceRecorder,
    ) -> dict[str, Tensor]:
        """The new values of trained parameters and of its own slots, by name.

        ``at`` are the slots before the step, ``written`` those that the step itself wrote, in float32. A parameter the
        loss does not depend on stays as it is, or as it was written.
        """
        self._rounded = self._group * ROUNDINGS
        after = self._rewritten(written, at["step"])
        at = {**at, **after}
        used = {name: gradient for name, gradient in gradients.items() if gradient is not None}
        moment = Moment(at["step"], at["step"], None)
        if self.accumulate > 1:
            with recorder.section("gradient: sum over batches"):
                used = {name: at[f"{GRADIENT}.{name}"] + gradient for name, gradient in used.items()}
                moment = self._moment(at["step"])
                zero = torch.zeros(())
                after.update({f"{GRADIENT}.{name}": moment.choose(zero, total) for name, total in used.items()})
        with recorder.section(f"optimizer: {self.optimizer.name}"):
            used = self._clipped(used)
            factors = self._factors_at(at, moment.update)
        for name in self.names:
            with recorder.section(f"optimizer: {self.own[name].name}"):
                p = written.get(self.slots[name], self._parameter(at, name))
                if name in used:
                    p = self._updated(at, after, name, p, used[name], factors, moment)
            if self.ema is not None:
                with recorder.section("ema"):
                    average = at[f"{AVERAGE}.{name}"]
                    after[f"{AVERAGE}.{name}"] = moment.choose(averaged(average, p, factors["ema"]), average)
        return after

    def _moment(self, step: Tensor) -> Moment:
        update = torch.div(step, self.accumulate, rounding_mode="floor")
        return Moment(step, update, (step % self.accumulate == self.accumulate - 1).reshape(()))

    def _clipped(self, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.optimizer.clip_norm is not None:
            return clip_by_global_norm(gradients, self.optimizer.clip_norm)
        if self.optimizer.clip_value is not None:
            return clip_by_value(gradients, self.optimizer.clip_value)
        return gradients

    def _factors_at(self, at: Mapping[str, Tensor], update: Tensor) -> dict[str, Tensor]:
        """This update's element of every table, by the table's name."""
        return {name: at[f"{self.prefix}{name}"].index_select(0, update).reshape(()) for name in self.tables}

    def _rewritten(self, written: Mapping[str, Tensor], step: Tensor) -> dict[str, Tensor]:
        """The trained parameters that the step wrote, as they are stored."""
        slots = [self.slots[name] for name in self.names]
        mine = {slot: written[slot] for slot in slots if slot in written}
        return {slot: self._stored(tensor, self.storage.trained, step) for slot, tensor in mine.items()}

    def _parameter(self, at: Mapping[str, Tensor], name: str) -> Tensor:
        """The parameter that is updated, in float32."""
        return at[f"{MASTER}.{name}"] if self.storage.master else at[self.slots[name]].to(torch.float32)

    def _updated(
        self,
        at: Mapping[str, Tensor],
        after: dict[str, Tensor],
        name: str,
        p: Tensor,
        gradient: Tensor,
        factors: Mapping[str, Tensor],
        moment: Moment,
    ) -> Tensor:
        """Update one parameter. Returns its new value in float32: the master's, or as it is stored."""
        own, storage = self.own[name], self.storage
        old = {slot: at[f"optimizer.{slot}.{name}"] for slot in self.starts[name]}
        wide = {slot: tensor.to(torch.float32) for slot, tensor in old.items()}
        mine = {factor: factors[table] for factor, table in self.factors[name].items()}
        new, slots = own.update(p, gradient, wide, mine)
        for slot, tensor in slots.items():
            after[f"optimizer.{slot}.{name}"] = moment.choose(
                self._stored(tensor, storage.moments, moment.step), old[slot]
            )
        if storage.master:
            new = after[f"{MASTER}.{name}"] = moment.choose(new, p)
            after[self.slots[name]] = new if storage.trained is None else new.to(NARROW[storage.trained])
            return new
        stored = moment.choose(self._stored(new, storage.trained, moment.step), at[self.slots[name]])
        after[self.slots[name]] = stored
        return stored.to(torch.float32)

    def _stored(self, x: Tensor, kind: str | None, step: Tensor) -> Tensor:
        """A new value as it is stored."""
        if kind is None:
            return x
        if self.storage.rounding == "nearest":
            return x.to(NARROW[kind])
        self._rounded += 1
        site = ROUNDING_SITE - self._rounded + 1
        return torch.ops.tallystick.round_stochastic(x, step, self.seed, site)
