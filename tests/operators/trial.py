"""Trying one sample: captured, run by the spec interpreter or the engine, and judged."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lowered_operators import array_of, capture_function, value_of
from operators.samples import Sample, with_gradients
from operators.verdicts import complaint
from tallystick.capture.inputs import Role
from tallystick.engine import Engine
from tallystick.engine.target import Target
from tallystick.errors import CaptureError
from tallystick.ir.accounting import program_work
from tallystick.ir.verifier import verify
from tallystick.spec.programs import Program, run_step

Function = Callable[..., list[Tensor]]

# What the spec interpreter does in the time in which LLVM compiles a kernel: larger programs go to the engine.
WORK_PER_KERNEL = 10_000


MESSAGE = 240  # characters of an error that are kept


# Operators whose results are memory that was never written: whatever it holds, there is nothing to compare.
UNWRITTEN = frozenset({"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"})


class Kind(Enum):
    """What became of a sample, in one direction."""

    PASSED = "passed"
    REFUSED = "refused"  # a CaptureError, as it should be
    FAILED = "failed"  # a wrong result, or any other error
    EMPTY = "empty"  # a tensor without elements, which no program can hold
    RANDOM = "random"  # draws, or shows memory that was never written: no two runs agree
    NOTHING = "nothing"  # no tensor among the results, or no gradient, or PyTorch itself has an error


class Outcome(NamedTuple):
    kind: Kind
    message: str = ""
    kernels: int = 0


def try_sample(sample: Sample) -> tuple[Outcome, Outcome]:
    """What becomes of a sample forwards, and backwards. A failure to go backwards is not one to go forwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if sample.operator in UNWRITTEN:
            return Outcome(Kind.RANDOM), Outcome(Kind.NOTHING)
        first = excuse(sample.call, sample.tensors)
        if first is not None:
            return first, Outcome(Kind.NOTHING)
        backwards = with_gradients(sample)
        if not sample.differentiable or excuse(backwards, sample.tensors) is not None:
            return attempt(sample.call, sample.tensors), Outcome(Kind.NOTHING)
        both = attempt(backwards, sample.tensors)
        return (both if both.kind is Kind.PASSED else attempt(sample.call, sample.tensors)), both


class DrawsRandomly(Exception):
    """An operator that draws has been reached."""


class NoRandomness(TorchDispatchMode):
    """Stops at operators that draw random numbers."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise DrawsRandomly
        return func(*args, **(kwargs or {}))


def excuse(function: Function, tensors: Sequence[Tensor]) -> Outcome | None:
    """Why there is nothing to compare with, if there is not."""
    try:
        with NoRandomness():
            function(*tensors)
        once, twice = function(*tensors), function(*tensors)
        if any(tensor.layout is not torch.strided for tensor in (*tensors, *once)):
            return Outcome(Kind.NOTHING, "sparse tensors")
    except DrawsRandomly:
        return Outcome(Kind.RANDOM)
    except Exception as error:  # noqa: BLE001 - PyTorch itself cannot run it
        return Outcome(Kind.NOTHING, first_line(error))
    if not once:
        return Outcome(Kind.NOTHING, "no tensor among the results")
    if any(tensor.numel() == 0 for tensor in (*tensors, *once)):
        return Outcome(Kind.EMPTY)
    if any(a.shape != b.shape or not same(a, b) for a, b in zip(once, twice, strict=True)):
        return Outcome(Kind.RANDOM)
    return None


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two results have the same elements, NaN being one."""
    return bool(((a == b) | ((a != a) & (b != b))).all())


def attempt(function: Function, tensors: Sequence[Tensor]) -> Outcome:
    """Capture a function, run it and compare with PyTorch."""
    try:
        got, kernels = run(function, tensors)
    except CaptureError as error:
        return Outcome(Kind.REFUSED, first_line(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        return Outcome(Kind.FAILED, f"{type(error).__name__}: {first_line(error)}")
    problem = complaint(got, function(*tensors), function, tensors)
    return Outcome(Kind.PASSED, "", kernels) if problem is None else Outcome(Kind.FAILED, problem)


def run(function: Function, tensors: Sequence[Tensor]) -> tuple[list[np.ndarray], int]:
    """A function's results as the program computes them, and its number of kernels."""
    traced, lowered = capture_function(function, *tensors)
    program = lowered.program
    verify(program)
    slots = [made for made in traced.inputs if made.role is not Role.STEP]
    count = len(program.states)
    if program_work(program) <= WORK_PER_KERNEL * len(program.kernels):
        values = [value_of(made) for made in slots]
        after = run_step(program, values[:count], values[count:], 0)
        arrays = [array_of(after[number]) for number in program.next_state]
    else:
        arrays = run_fast(program, [np.array(made.array, order="C") for made in slots])
    kept = [made.name for made in slots if made.role is Role.STATE]
    found = dict(zip(kept, arrays, strict=True))
    held = {made.name: made.array for made in slots}
    results = []
    for number, result in enumerate(function(*tensors)):
        # A result that is nothing but zeros may have been dropped: it is the slot's start.
        name = f"result.{number}"
        array = found.get(name, held.get(name))
        if array is not None and result.dtype is torch.bfloat16:
            array = (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        results.append(np.zeros(tuple(result.shape), np.float32) if array is None else array)
    return results, len(program.kernels)


def run_fast(program: Program, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    count = len(program.states)
    engine = Engine(program, threads=1, target=Target.host(0), cache=cache_folder())
    with engine.start(list(arrays[:count]), list(arrays[count:])) as session:
        session.advance(1)
        return [np.array(array) for array in session.state()]


@cache
def cache_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="operators-"))


def first_line(error: BaseException) -> str:
    """An error's message in one line, without the line of the user's code, which is ours here, and graph listings."""
    message = str(error).split("While executing")[0]
    message = re.sub(r" \((backward of )?\w+\.py:\d+ \w+: .*?\): ", ": ", message, flags=re.DOTALL)
    message = re.sub(r"(backward of )?\w+\.py:\d+ \w+: [^\n]*\n?", "", message)
    message = re.sub(r"0x[0-9a-f]+", "...", " ".join(message.split()))
    return message[:MESSAGE]
