"""What the user's objects are, so that it can be seen that a job left them as they were."""

from __future__ import annotations

import collections
import itertools
import logging
import random
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

PLAIN = (int, float, str, bytes, bool, complex, type(None), torch.dtype, torch.device, torch.Size)
DEPTH = 12
ONE_WAY = "an iterator"  # whoever asks it for one value has moved it, and nothing moves it back


def snapshot(*objects: Any) -> dict[str, Any]:
    """Everything that can be reached from some objects, and the global generators, by path."""
    found: dict[str, Any] = {
        "random": random.getstate(),
        "np.random": repr(np.random.get_state()),
        "torch": torch.get_rng_state().numpy().tobytes(),
        "grad mode": torch.is_grad_enabled(),
        "default dtype": torch.get_default_dtype(),
    }
    for number, value in enumerate(objects):
        found.update(walk(value, str(number), set(), 0))
    return found


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Paths whose value is another, each with a word about it."""
    lines = [f"{path} is gone" for path in before if path not in after]
    lines += [f"{path} is new: {short(value)}" for path, value in after.items() if path not in before]
    lines += [
        f"{path} was {short(before[path])}, is {short(after[path])}"
        for path in before
        if path in after and before[path] != after[path]
    ]
    return lines


def fakes(snapped: dict[str, Any]) -> list[str]:
    return [path for path, value in snapped.items() if value == "fake"]


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def walk(value: Any, path: str, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, PLAIN):
        yield path, value
        return
    if id(value) in seen or depth > DEPTH or isinstance(value, logging.Logger):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield from tensor(value, path, seen, depth)
    elif isinstance(value, np.ndarray):
        yield path, (value.dtype.str, value.shape, value.tobytes())
    elif isinstance(value, np.generic):
        yield path, repr(value)
    elif isinstance(value, random.Random):
        yield path, value.getstate()
    elif isinstance(value, np.random.Generator):
        yield path, repr(value.bit_generator.state)
    elif isinstance(value, torch.Generator):
        yield path, value.get_state().numpy().tobytes()
    elif isinstance(value, itertools.count | itertools.cycle | types.GeneratorType):
        yield path, ONE_WAY
    elif isinstance(value, list | tuple | collections.deque):
        yield f"{path} length", len(value)
        for number, item in enumerate(value):
            yield from walk(item, f"{path}[{number}]", seen, depth + 1)
    elif isinstance(value, set | frozenset):
        yield path, sorted(map(repr, value))
    elif isinstance(value, dict):
        yield f"{path} keys", tuple(map(str, value))
        for name, item in value.items():
            yield from walk(item, f"{path}[{name!r}]", seen, depth + 1)
    elif isinstance(value, types.FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        for name, cell in cells:
            yield from walk(cell.cell_contents, f"{path} {name}", seen, depth + 1)
        for name in value.__code__.co_names:
            if name in value.__globals__ and not isinstance(value.__globals__[name], types.ModuleType | type):
                yield from walk(value.__globals__[name], f"{path} global {name}", seen, depth + 1)
    elif isinstance(value, type):
        for name, item in vars(value).items():
            if isinstance(item, (*PLAIN, Tensor)) and not name.startswith("__"):
                yield from walk(item, f"{path}.{name}", seen, depth + 1)
    elif isinstance(value, nn.Module) or hasattr(value, "__dict__"):
        if isinstance(value, nn.Module):
            yield from walk(type(value), f"{path} class", seen, depth + 1)
        for name, item in vars(value).items():
            yield from walk(item, f"{path}.{name}", seen, depth + 1)


def tensor(value: Tensor, path: str, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """A tensor's bits; of a parameter also which one it is, and its gradient and hooks."""
    if (
        isinstance(value, FakeTensor)
        or type(value).__name__ in ("FunctionalTensor", "GradTrackingTensor")
        or value.device.type == "meta"
    ):
        yield path, "fake"
        return
    try:
        bits = (
            value.detach().contiguous().view(torch.uint8)
            if value.dim()
            else value.detach().reshape(1).view(torch.uint8)
        )
        content: Any = bits.numpy().tobytes()
    except (RuntimeError, TypeError) as error:
        content = f"unreadable: {str(error)[:60]}"
    yield path, (str(value.dtype), tuple(value.shape), value.stride(), value.requires_grad, content)
    if isinstance(value, nn.Parameter):
        yield f"{path} identity", id(value)
    if value.is_leaf:
        yield from walk(value.grad, f"{path}.grad", seen, depth + 1)
        yield f"{path} hooks", len(value._backward_hooks or ())
