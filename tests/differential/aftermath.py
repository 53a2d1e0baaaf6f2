"""What a job may not leave behind: everything of the user's is as it was, and can be used as before."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from differential.comparison import distance, largest
from differential.eager import Finished, numbers
from differential.program import Program
from differential.snapshot import ONE_WAY, changes, fakes, snapshot
from tallystick.capture.tracing.random import Sampler

MOST = 4  # lines about one job


def left_behind(
    program: Program, made: tuple, before: dict[str, Any], run: Any, eager: Finished | None, data: dict, job: dict
) -> list[str]:
    """One line for everything that is not as it was, or cannot be used."""
    after = snapshot(*made, data)
    lines = [f"a tensor without data is left in {path}" for path in fakes(after)]
    lines += [f"changed: {line}" for line in changes(before, after)]
    lines = lines[:MOST]
    if run is not None:
        lines += model_of(run, made, eager, data)
    if ONE_WAY not in after.values():
        lines += plain_use(program, made, data, job)
    return lines


def model_of(run: Any, made: tuple, eager: Finished | None, data: dict) -> list[str]:
    """``run.model()`` works and answers as the model that eager PyTorch trained."""
    try:
        model = run.model()
    except Exception as error:  # noqa: BLE001 - whatever comes is a fault
        return [f"run.model(): {type(error).__name__}: {str(error)[:200]}"]
    if eager is None:
        return []
    x = torch.as_tensor(data["x"])[:3].clone()
    try:
        right = answer(eager.model, x.clone())
    except Exception:  # noqa: BLE001 - a model that cannot be used in evaluation mode, or on three rows
        return []
    try:
        mine = answer(model, x)
    except Exception as error:  # noqa: BLE001
        return [f"run.model()(x): {type(error).__name__}: {str(error)[:200]}"]
    if mine.shape != right.shape or not distance(mine, right) <= 1e-2 * max(1e-3, largest(right)):
        return [f"run.model()(x) is {distance(mine, right):.1e} from that of eager PyTorch"]
    return []


def answer(model: Any, x: Any) -> np.ndarray:
    with torch.no_grad(), drawing():
        out = model.eval()(x)
    return numbers(out[0] if isinstance(out, tuple) else out)


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Draw the random numbers of step 0."""
    with Sampler(torch.tensor([0]), 0), sdpa_kernel(SDPBackend.MATH):
        yield


def plain_use(program: Program, made: tuple, data: dict, job: dict) -> list[str]:
    """A forward and backward pass of the user's own model, after the job, is bit for bit that of a fresh one."""
    fresh = program.make()
    outcomes = []
    generators = random.getstate(), np.random.get_state()
    for model, loss, _ in (fresh, made):
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        if not model.training:
            model.train()
        batch = {name: torch.as_tensor(array)[: job["batch_size"]].clone() for name, array in data.items()}
        try:
            with drawing():
                value = loss(model, **batch)
                value = value[0] if isinstance(value, tuple) else value
                value.backward()
            grads = {n: None if p.grad is None else p.grad.numpy().tobytes() for n, p in model.named_parameters()}
            outcomes.append((value.item(), grads))
        except Exception as error:  # noqa: BLE001
            outcomes.append((f"{type(error).__name__}: {str(error)[:200]}", {}))
    (right, gradients), (mine, others) = outcomes
    if mine != right and not (mine != mine and right != right):
        return [f"the loss of the user's own model is {mine} after the job; that of a fresh one is {right}"]
    wrong = [name for name in gradients if gradients[name] != others.get(name)]
    return [f"the gradient of {wrong[0]} of the user's own model is another after the job"] if wrong else []
