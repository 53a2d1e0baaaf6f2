"""Runs a function of tensors through capture and the spec interpreter, to compare it with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tallystick.capture.dtypes import storage_dtype
from tallystick.capture.inputs import Input, Role, from_tensor
from tallystick.capture.lowering import Lowered, Slot, lower
from tallystick.capture.reach.world import World
from tallystick.capture.tracing.provenance import SourceRecorder
from tallystick.capture.tracing.trace import Trace, trace
from tallystick.capture.watching.surroundings import Surroundings
from tallystick.capture.watching.watch import Watch
from tallystick.ir.verifier import verify
from tallystick.spec.programs import run_step
from tallystick.spec.tensors import Tensor as Value
from tallystick.spec.tensors import TensorType


def capture_function(function: Callable[..., Any], *tensors: Tensor) -> tuple[Trace, Lowered]:
    """The program whose state slots become the function's results (a tensor or several)."""
    results = as_list(function(*tensors))
    slots = [from_tensor(f"result.{i}", Role.STATE, torch.zeros_like(r)) for i, r in enumerate(results)]
    operands = [from_tensor(f"operand.{i}", Role.CONSTANT, t) for i, t in enumerate(tensors)]

    def step(given: Sequence[Tensor], watch: Watch) -> list[Tensor]:
        with SourceRecorder(step.__code__, watch=watch):
            own = [t.detach().clone() for t in given[len(slots) : -1]]
            own = [t.requires_grad_() if r.requires_grad else t for t, r in zip(own, tensors, strict=True)]
            return [result.detach() for result in as_list(function(*own))]

    inputs = [*slots, *operands, Input("step", Role.STEP, torch.int64, (1,))]
    traced = trace(step, Surroundings(inputs), World([("function", function)]))
    return traced, lower(traced.graph, [slot_of(made) for made in traced.inputs])


def run_function(function: Callable[..., Any], *tensors: Tensor, step: int = 0) -> list[np.ndarray]:
    """The function's results as the spec interpreter computes them. Integers are int32."""
    traced, lowered = capture_function(function, *tensors)
    program = lowered.program
    verify(program)
    values = [value_of(made) for made in traced.inputs if made.role is not Role.STEP]
    count = len(program.states)
    after = run_step(program, values[:count], values[count:], step)
    kept = [made.name for made in traced.inputs if made.role is Role.STATE]
    found = {name: array_of(after[number]) for name, number in zip(kept, program.next_state, strict=True)}
    # A result that is a constant zero tensor may have been dropped: it is the slot's start.
    return [
        found[name] if (name := f"result.{i}") in found else np.zeros(tuple(r.shape), np.float32)
        for i, r in enumerate(as_list(function(*tensors)))
    ]


def compare(function: Callable[..., Any], *tensors: Tensor, rtol: float = 2e-6, atol: float = 2e-6) -> None:
    """The spec interpreter's results are PyTorch's, within tolerances; integers, NaN and infinities exactly."""
    expected = as_list(function(*tensors))
    for got, want in zip(run_function(function, *tensors), expected, strict=True):
        np.testing.assert_allclose(got, want.detach().numpy(), rtol=rtol, atol=atol)


def gradients(function: Callable[..., Tensor]) -> Callable[..., list[Tensor]]:
    """The function's value and its gradients by every operand that requires one, for a fixed incoming gradient."""

    def differentiate(*tensors: Tensor) -> list[Tensor]:
        value = function(*tensors)
        incoming = (torch.arange(value.numel()) % 7 - 3.0).reshape(value.shape) * 0.5
        wanted = [t for t in tensors if t.requires_grad]
        return [value, *torch.autograd.grad(value, wanted, incoming)]

    return differentiate


def slot_of(made: Input) -> Slot:
    if made.role is Role.STEP:
        return Slot(None)
    return Slot(TensorType(storage_dtype(made.dtype), made.shape), made.role is Role.STATE)


def value_of(made: Input) -> Value:
    assert made.array is not None, "a slot has data"
    return Value(TensorType(storage_dtype(made.dtype), made.shape), made.array.tobytes())


def array_of(value: Value) -> np.ndarray:
    dtypes = {1: np.float32, 2: np.int32, 3: np.uint8, 4: np.int8, 5: np.bool_, 6: np.uint16, 7: np.float16}
    return np.frombuffer(bytes(value.data), dtypes[int(value.type.dtype)]).reshape(value.type.shape)


def as_list(results: Any) -> list[Tensor]:
    return list(results) if isinstance(results, (tuple, list)) else [results]
