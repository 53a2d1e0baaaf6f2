"""What the user's objects keep, before a step is traced and after: compared, and put back as it was."""

from __future__ import annotations

import itertools
import random
import types
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor

from tallystick.capture.reach.walk import Found, Holder, walk

KEPT = 1 << 26  # bytes of an array that are copied; of a larger one a part is compared
_NOTHING = object()


class _AnIterator:
    """Stands for what an iterator has not given yet."""


@dataclass(frozen=True)
class Change:
    """A value that is another than it was. ``before`` or ``after`` is NOTHING where there was none."""

    path: str
    before: Any
    after: Any

    @property
    def is_tensor(self) -> bool:
        """Whether the new value is a tensor: what tensors hold is followed elsewhere."""
        return isinstance(self.after, torch.Tensor)

    @property
    def is_iterator(self) -> bool:
        """Whether it is an iterator that was moved on."""
        return isinstance(self.before, _AnIterator)

    @property
    def is_number(self) -> bool:
        """Whether it is a number, or a container with more or fewer elements, that is counted by."""
        return isinstance(self.after, (bool, int, float, np.generic)) or "elements" in str(self.after)

    @property
    def counts(self) -> bool:
        """Whether something else than the numbers in tensors is different."""
        return not _alike(self.before, self.after)

    def text(self) -> str:
        """`` model.seen: 0, then 1``."""
        return f"{self.path} ({_shown(self.before)}, then {_shown(self.after)})"


class World:
    """A picture of everything that is reached from some objects."""

    def __init__(self, roots: Iterable[tuple[str, Any]]) -> None:
        self.roots = list(roots)
        self.found: Found = walk(self.roots)
        self._kept = [_contents(holder) for holder in self.found.holders]
        self._arrays = {path: _pictured(array) for path, array in self.found.arrays.items() if array.flags.writeable}
        self._generators = generator_states(self.found)
        self._iterators = {path: _place(item) for path, item in self.found.iterators.items()}

    def changes(self) -> list[Change]:
        """What is different now, apart from generators."""
        changes = []
        for holder, kept in zip(self.found.holders, self._kept, strict=True):
            changes += _differences(holder, kept, _contents(holder))
        for path, before in self._arrays.items():
            if not np.array_equal(_pictured(self.found.arrays[path]), before, equal_nan=before.dtype.kind in "fc"):
                changes.append(Change(path, "an array", "other numbers"))
        for path, before in self._iterators.items():
            if _place(self.found.iterators[path]) != before:
                changes.append(Change(path, _AnIterator(), "further on"))
        return changes

    def restore(self) -> None:
        """Put everything back."""
        for holder, kept in zip(self.found.holders, self._kept, strict=True):
            _put_back(holder, kept)
        for path, before in self._arrays.items():
            array = self.found.arrays[path]
            if array.nbytes <= KEPT and not np.array_equal(array, before, equal_nan=before.dtype.kind in "fc"):
                array[...] = before
        set_generators(self.found, self._generators)

    def generators(self) -> dict[str, Any]:
        """The states of all generators now."""
        return generator_states(self.found)

    def disturb(self) -> None:
        """Put every generator into another state."""
        disturb(self.found)

    def name_of(self, tensor: torch.Tensor) -> str | None:
        """What a tensor is called by the code that was walked, by its identity or its memory."""
        if id(tensor) in self.found.tensors:
            return self.found.tensors[id(tensor)][0]
        if isinstance(tensor, FakeTensor):
            return None
        pointer = tensor.data_ptr()
        return next((p for p, t in self.found.tensors.values() if pointer and _pointer(t) == pointer), None)


def _pointer(tensor: torch.Tensor) -> int:
    return 0 if tensor.layout is not torch.strided or tensor.device.type != "cpu" else tensor.data_ptr()


# HOLDERS
def _contents(holder: Holder) -> Any:
    owner = holder.owner
    if holder.kind == "items":
        return dict(owner)
    if holder.kind == "elements":
        return list(owner)
    if holder.kind == "cell":
        return {"": _cell(owner)}
    if isinstance(owner, dict):
        return {name: owner.get(name, _NOTHING) for name in holder.names}
    if isinstance(owner, type):
        return {name: value for name, value in vars(owner).items() if not name.startswith("__")}
    return {name: getattr(owner, name, _NOTHING) for name in holder.names}


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _NOTHING


def _differences(holder: Holder, before: Any, after: Any) -> list[Change]:
    if holder.kind == "elements":
        if len(before) == len(after) and all(map(_same, before, after)):
            return []
        return [Change(holder.path, f"{len(before)} elements", f"{len(after)} elements")]
    if before.keys() == after.keys() and all(map(_same, before.values(), after.values())):
        return []
    changes = []
    for name in {**before, **after}:
        old, new = before.get(name, _NOTHING), after.get(name, _NOTHING)
        if not _same(old, new):
            joint = "." if holder.path and name else ""
            changes.append(Change(f"{holder.path}{joint}{name}", old, new))
    return changes


def _same(a: Any, b: Any) -> bool:
    """Whether two values are one object, or equal numbers or texts."""
    if a is b:
        return True
    if type(a) is not type(b) or not isinstance(a, (bool, int, float, complex, str, bytes, np.generic)):
        return False
    return a == b or (a != a and b != b)


def _alike(a: Any, b: Any, depth: int = 4) -> bool:
    """Whether two values are made of equal numbers and texts in the same way; tensors in them may differ."""
    if _same(a, b):
        return True
    if type(a) is not type(b) or not depth or isinstance(a, (bool, int, float, complex, str, bytes, np.generic)):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key], depth - 1) for key in a)
    if isinstance(a, (list, tuple, deque)):
        return len(a) == len(b) and all(_alike(x, y, depth - 1) for x, y in zip(a, b, strict=True))
    if isinstance(a, (set, frozenset)):
        return a == b
    if isinstance(a, (torch.Tensor, weakref.ref, types.FunctionType, types.MethodType)):
        return True
    return _alike(getattr(a, "__dict__", None), getattr(b, "__dict__", None), depth - 1)


def _put_back(holder: Holder, kept: Any) -> None:
    now = _contents(holder)
    if holder.kind == "elements":
        if len(now) != len(kept) or any(a is not b for a, b in zip(now, kept, strict=True)):
            holder.owner.clear()
            fill = holder.owner.update if isinstance(holder.owner, set) else holder.owner.extend
            fill(kept)
        return
    if list(now) == list(kept) and all(now[name] is kept[name] for name in kept):
        return
    if holder.kind == "items":
        holder.owner.clear()
        holder.owner.update(kept)
        return
    if holder.kind == "cell":
        if kept[""] is not _NOTHING:
            holder.owner.cell_contents = kept[""]
        return
    for name in {**now, **kept}:
        value = kept.get(name, _NOTHING)
        if now.get(name, _NOTHING) is value:
            continue
        if isinstance(holder.owner, dict):
            if value is _NOTHING:
                holder.owner.pop(name, None)
            else:
                holder.owner[name] = value
        elif value is _NOTHING:
            delattr(holder.owner, name)
        else:
            setattr(holder.owner, name, value)


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    if isinstance(value, torch.Tensor):
        return "a tensor"
    text = value if isinstance(value, str) and " " in value else repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"


# ARRAYS AND ITERATORS
def _pictured(array: np.ndarray) -> np.ndarray:
    """A copy of an array, or of elements spread over a large one."""
    if array.nbytes <= KEPT:
        return np.array(array)
    flat = array.reshape(-1) if array.flags.c_contiguous else array.ravel(order="K")
    return np.array(flat[:: max(1, flat.size >> 20)])


def _place(item: Any) -> Any:
    """Where an iterator stands, as far as it says."""
    if isinstance(item, types.GeneratorType):
        frame = item.gi_frame
        return None if frame is None else (frame.f_lasti, len(frame.f_locals), repr_of_numbers(frame.f_locals))
    if isinstance(item, itertools.count):
        return repr(item)
    hint = getattr(item, "__length_hint__", None)
    return None if hint is None else hint()


def repr_of_numbers(items: dict[str, Any]) -> str:
    return repr({name: value for name, value in items.items() if isinstance(value, (bool, int, float, str))})


# GENERATORS
def generator_states(found: Found) -> dict[str, Any]:
    """The states of Python's and NumPy's own generators and of those that were found."""
    states: dict[str, Any] = {"random": random.getstate(), "numpy.random": np.random.get_state()}
    for path, generator in found.generators.items():
        states[path] = _state(generator)
    return states


def _state(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.RandomState):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state()


def set_generators(found: Found, states: dict[str, Any]) -> None:
    random.setstate(states["random"])
    np.random.set_state(states["numpy.random"])
    for path, generator in found.generators.items():
        state = states[path]
        if isinstance(generator, random.Random):
            generator.setstate(state)
        elif isinstance(generator, np.random.Generator):
            generator.bit_generator.state = state
        else:
            generator.set_state(state)


def disturb(found: Found) -> None:
    """Put every generator into another state than it was in."""
    random.seed(0x7A11)
    np.random.seed(0x7A11)
    for generator in found.generators.values():
        if isinstance(generator, torch.Generator):
            generator.manual_seed(generator.initial_seed() + 1)
        elif isinstance(generator, np.random.Generator):
            generator.random(7)
        else:
            generator.random() if isinstance(generator, random.Random) else generator.random_sample(7)


def drawn_from(before: dict[str, Any], first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Generators that a step draws from without seeding them: they moved, and where to depends on where they were."""
    return [path for path in before if not _equal(before[path], first[path]) and not _equal(first[path], second[path])]


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return a == b
