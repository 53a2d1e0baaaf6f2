"""Capturing the preparation of a dataset: a program that makes a chunk of rows in every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tallystick.capture.inputs import Input, batch_inputs
from tallystick.capture.preprocess import standardise
from tallystick.capture.reach.world import World
from tallystick.capture.rounded_data import as_float32
from tallystick.capture.steps.program import capture_program
from tallystick.capture.tracing.provenance import section
from tallystick.capture.training import explained
from tallystick.errors import CaptureError
from tallystick.ir.captured import Captured

Prepare = Callable[..., Mapping[str, Tensor]]
PASSES = 3  # over the data, to standardise it: mean, variance, result


@dataclass(frozen=True)
class CapturedDataset:
    """The program, and how many steps it takes."""

    captured: Captured
    steps: int


def capture_dataset(
    *, prepare: Prepare, data: Mapping[str, object], chunk_rows: int, standardised: Sequence[str], seed: int
) -> CapturedDataset:
    """The program that makes ``prepare(**rows)`` of all rows; see ``tallystick.PreprocessingJob``.

    Raises: CaptureError naming what cannot be captured, and the user's line where there is one.
    """
    inputs = batch_inputs(dict(data))
    data = {name: as_float32(f"data.{name}", values)[0] for name, values in data.items()}
    rows = next(iter(inputs.values())).shape[0]
    if not 0 < chunk_rows <= rows:
        raise CaptureError(f"chunk_rows is {chunk_rows}, but the data has {rows} rows")
    for name in standardised:
        if name not in inputs or inputs[name].dtype is not torch.float32:
            raise CaptureError(f"{name!r} is to be standardised: it must be among the data, and float32")
    step = DatasetStep(prepare, list(inputs), rows, chunk_rows, tuple(standardised))
    state: dict[str, Any] = {}
    for name in standardised:
        rows_of = inputs[name].array
        assert rows_of is not None, "data is there"
        # The mean is counted from the first row, so that the mean of a constant column is exact.
        state |= {f"mean.{name}": np.array(rows_of[0]), f"variance.{name}": np.zeros(rows_of.shape[1:], np.float32)}
    with torch.random.fork_rng(devices=[]), explained():
        world = World([("prepare", prepare)])
        try:
            outputs = step.outputs(inputs)
        finally:
            world.restore()
        for name, made in outputs.items():
            state[name] = torch.zeros(rows, *made.shape[1:], dtype=made.dtype)
    constants = {f"data.{name}": values for name, values in data.items()}
    roots = {"prepare": prepare}
    captured = capture_program(step, state=state, constants=constants, seed=seed, steps=step.steps, roots=roots)
    notes = tuple(made.note for made in inputs.values() if made.note)
    return CapturedDataset(replace(captured, notes=notes), step.steps)


class DatasetStep:
    """One step: a chunk of rows, in one pass over the data, or in three where something is standardised.

    The last chunk has as many rows as the others and takes up again some that were done before.
    """

    def __init__(self, prepare: Prepare, names: list[str], rows: int, chunk_rows: int, standardised: tuple[str, ...]):
        self.prepare, self.names, self.rows, self.chunk_rows = prepare, names, rows, chunk_rows
        self.standardised = standardised
        self.chunks = -(-rows // chunk_rows)
        self.steps = self.chunks * (PASSES if standardised else 1)

    def __call__(self, state: dict[str, Tensor], constants: dict[str, Tensor], step: Tensor) -> dict[str, Tensor]:
        with section("chunk: rows of the data"):
            first = step % self.chunks * self.chunk_rows
            index = first.clamp(max=self.rows - self.chunk_rows) + torch.arange(self.chunk_rows)
            chunk = {name: constants[f"data.{name}"].index_select(0, index) for name in self.names}
            fresh, number = index >= first, step // self.chunks
        for name in self.standardised:
            with section(f"standardise: {name}"):
                origin = constants[f"data.{name}"][0]
                chunk[name] = self._standardised(state, name, chunk[name], origin, fresh, number)
        made = self.checked(self.prepare(**chunk))
        with section("chunk: rows of the result"):
            for name, rows in made.items():
                if self.standardised:
                    rows = torch.where(number == PASSES - 1, rows, state[name].index_select(0, index))
                state[name] = state[name].index_copy(0, index, rows)
        return state

    def _standardised(
        self, state: dict[str, Tensor], name: str, x: Tensor, origin: Tensor, fresh: Tensor, number: Tensor
    ) -> Tensor:
        """Add to the statistics in the first two passes. Shapes: x and the result (chunk, ...)."""
        mean, variance = state[f"mean.{name}"], state[f"variance.{name}"]
        counted = fresh.reshape(-1, *[1] * (x.dim() - 1))
        summed = torch.where(counted, x - origin, 0.0).sum(0) / self.rows
        squared = torch.where(counted, (x - mean).square(), 0.0).sum(0) / self.rows
        state[f"mean.{name}"] = torch.where(number == 0, mean + summed, mean)
        state[f"variance.{name}"] = torch.where(number == 1, variance + squared, variance)
        return standardise(x, mean, variance.sqrt())

    def outputs(self, inputs: Mapping[str, Input]) -> dict[str, Tensor]:
        """What ``prepare`` makes of the first rows, for its names, shapes and dtypes."""
        first = {}
        for name, made in inputs.items():
            assert made.array is not None, "data is there"
            first[name] = torch.from_numpy(np.array(made.array[: self.chunk_rows])).to(made.dtype)
        return self.checked(self.prepare(**first))

    def checked(self, made: Any) -> dict[str, Tensor]:
        """The result by name. Raises: CaptureError unless it has a row for every row."""
        if not isinstance(made, Mapping) or not made:
            raise CaptureError("prepare must return a dict of tensors, {name: rows}")
        for name, rows in made.items():
            if not isinstance(rows, Tensor) or not rows.dim() or rows.shape[0] != self.chunk_rows:
                found = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
                rows_wanted = f"{self.chunk_rows} rows, one for every row it was given"
                raise CaptureError(f"prepare returned {found} for {name!r}; it must return {rows_wanted}")
        return dict(made)
