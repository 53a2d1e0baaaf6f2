"""Whatever a user captures: it works, or ends in an error of ours. No exception of PyTorch's leaves the package."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

import tallystick as ts
from operators.samples import Sample, first_samples, operators, with_gradients
from tallystick.errors import TallystickError

GROUPS = 12
QUICK = 9  # one operator of so many is tried in the quick test


def escaped(sample: Sample) -> str | None:
    """An exception that is not ours, of a program with this operator and its gradients; None if there is none."""
    call = with_gradients(sample) if sample.differentiable else sample.call
    try:
        results = call(*sample.tensors)
    except Exception:  # noqa: BLE001 - PyTorch itself cannot run it
        return None
    state = {f"result.{number}": torch.zeros_like(result) for number, result in enumerate(results)}
    constants = {f"operand.{number}": tensor for number, tensor in enumerate(sample.tensors)}
    if not state:
        return None

    def step(state: dict[str, Tensor], constants: dict[str, Tensor]) -> dict[str, Tensor]:
        own = [constants[f"operand.{number}"].clone() for number in range(len(sample.tensors))]
        own = [t.requires_grad_() if r.requires_grad else t for t, r in zip(own, sample.tensors, strict=True)]
        return {name: result.detach() for name, result in zip(state, call(*own), strict=True)}

    try:
        ts.capture_program(step, state=state, constants=constants)
    except TallystickError:
        return None
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return f"{sample.operator}: {type(error).__name__}: {error}"
    return None


def all_escaped(names: list[str], samples: int) -> list[str]:
    torch.set_num_threads(1)
    found = []
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                tried = list(first_samples(name, samples))
            except (AssertionError, NotImplementedError, RuntimeError):  # PyTorch makes none on this machine
                continue
            found += [escaped(sample) for sample in tried]
    return [error for error in found if error is not None]


def test_errors_of_some_operators_are_ours() -> None:
    assert all_escaped(list(operators())[::QUICK], 1) == []


@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
def test_errors_of_all_operators_are_ours(group: int) -> None:
    assert all_escaped(list(operators())[group::GROUPS], 4) == []
