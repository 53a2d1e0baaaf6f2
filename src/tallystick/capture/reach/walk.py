"""Everything a function or a module can get hold of: attributes, closures, globals, and what is inside of them.

Only the user's own code is read for the globals that it names; objects of installed packages are looked into as far as
they hang on the user's. Nothing is called, and no attribute is computed.
"""

from __future__ import annotations

import functools
import random
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from tallystick.capture.tracing.provenance import is_installed, is_user_file

MOST = 200_000  # objects that are looked at
LONGEST = 4096  # elements of a list or a dict that are looked into

_PLAIN = (
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    type(None),
    torch.dtype,
    torch.device,
    torch.Size,
    np.dtype,
    np.generic,
)
_GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)
_INSIDE = ("parameters", "buffers", "modules")
# Instances of classes that these packages define keep no state of a step.
_LEFT_OUT = (
    *("_io", "abc", "asyncio", "concurrent", "functools", "inspect", "io", "logging", "multiprocessing", "pathlib"),
    *("re", "tallystick", "threading", "torch._", "types", "typing", "unittest", "weakref"),
)


@dataclass
class Holder:
    """Something that keeps values: ``get`` copies what it keeps, ``put`` puts it back.

    ``kind``: "items" for dicts (attributes, too), "elements" for lists, sets and deques, "names" for some names of a
    namespace, "cell" for a variable of a closure.
    """

    path: str
    kind: str
    owner: Any
    names: tuple[str, ...] = ()


@dataclass
class Found:
    """What was found. Paths say how the user's code calls things: ``model.body.cache``."""

    holders: list[Holder] = field(default_factory=list)
    modules: dict[str, nn.Module] = field(default_factory=dict)  # by path; outermost ones
    generators: dict[str, Any] = field(default_factory=dict)
    iterators: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    tensors: dict[int, tuple[str, torch.Tensor]] = field(default_factory=dict)  # by identity


def walk(roots: Iterable[tuple[str, Any]]) -> Found:
    """Look at everything that is reached from these named objects."""
    walker = _Walker()
    waiting = deque(roots)
    while waiting and len(walker.seen) < MOST:
        path, item = waiting.popleft()
        waiting.extend(walker.look(path, item))
    _keep_outermost(walker.found.modules)
    return walker.found


def _keep_outermost(modules: dict[str, nn.Module]) -> None:
    inner = {id(part) for module in modules.values() for part in module.modules() if part is not module}
    for path in [path for path, module in modules.items() if id(module) in inner]:
        del modules[path]


class _Walker:
    def __init__(self) -> None:
        self.found = Found()
        self.seen: dict[int, Any] = {}

    def look(self, path: str, item: Any) -> Iterator[tuple[str, Any]]:
        """Enter one object; yields what it leads to."""
        if isinstance(item, _PLAIN) or id(item) in self.seen:
            return
        self.seen[id(item)] = item
        if isinstance(item, torch.Tensor):
            self.found.tensors[id(item)] = (path, item)
        elif isinstance(item, np.ndarray):
            self.found.arrays[path] = item
        elif isinstance(item, _GENERATORS):
            self.found.generators[path] = item
        elif isinstance(item, nn.Module):
            self.found.modules.setdefault(path, item)
            yield from self._attributes(path, item)
        elif isinstance(item, types.FunctionType):
            yield from self._function(path, item)
        elif isinstance(item, types.MethodType):
            yield path, item.__self__
            yield path, item.__func__
        elif isinstance(item, functools.partial):
            yield path, item.func
            yield from self._elements(path, item.args)
            yield from self._items(path, item.keywords)
        elif isinstance(item, dict):
            self._hold(path, "items", item)
            yield from self._items(path, item)
        elif isinstance(item, (list, deque, set)):
            self._hold(path, "elements", item)
            yield from self._elements(path, item)
        elif isinstance(item, (tuple, frozenset)):
            yield from self._elements(path, item)
        elif isinstance(item, type):
            yield from self._class(path, item)
        elif isinstance(item, Iterator):
            self.found.iterators[path] = item
        elif not isinstance(item, types.ModuleType) and not type(item).__module__.startswith(_LEFT_OUT):
            yield from self._attributes(path, item)

    def _hold(self, path: str, kind: str, owner: Any, names: tuple[str, ...] = ()) -> None:
        self.found.holders.append(Holder(path, kind, owner, names))

    def _items(self, path: str, items: dict) -> Iterator[tuple[str, Any]]:
        if len(items) <= LONGEST:
            for key, value in items.items():
                yield f"{path}.{key}" if str(key).isidentifier() else f"{path}[{str(key)[:40]!r}]", value

    def _elements(self, path: str, items: Iterable[Any]) -> Iterator[tuple[str, Any]]:
        items = tuple(items)
        if len(items) <= LONGEST:
            yield from ((f"{path}[{number}]", value) for number, value in enumerate(items))

    def _attributes(self, path: str, item: Any) -> Iterator[tuple[str, Any]]:
        """The attributes that an object keeps, those in slots, too, and its class if the user wrote it."""
        own = getattr(item, "__dict__", None)
        if isinstance(own, dict):
            self._hold(path, "items", own)
            for name, value in own.items():
                inside = isinstance(item, nn.Module) and name.strip("_") in _INSIDE
                if inside:
                    self._hold(f"{path}", "items", value)
                    yield from self._items(path, value)
                else:
                    yield f"{path}.{name}" if path else name, value
        slots = [name for kind in type(item).__mro__ for name in _slots(kind) if hasattr(item, name)]
        if slots and type(item).__module__ != "builtins":
            self._hold(path, "names", item, tuple(slots))
            yield from ((f"{path}.{name}", getattr(item, name)) for name in slots)
        for kind in type(item).__mro__:
            if _is_users(kind):
                yield kind.__name__, kind

    def _class(self, path: str, kind: type) -> Iterator[tuple[str, Any]]:
        """What a class of the user's keeps, and what its methods reach."""
        if not _is_users(kind):
            return
        kept = [
            n for n, v in vars(kind).items() if not n.startswith("__") and not callable(v) and not hasattr(v, "__get__")
        ]
        self._hold(kind.__name__, "names", kind)
        for name, value in list(vars(kind).items()):
            if isinstance(value, (staticmethod, classmethod)):
                value = value.__func__
            if isinstance(value, property):
                value = value.fget
            if isinstance(value, types.FunctionType) or name in kept:
                yield f"{kind.__name__}.{name}", value

    def _function(self, path: str, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
        code = function.__code__
        if vars(function):
            self._hold(path, "items", vars(function))
            yield from self._items(path, vars(function))
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._hold(name, "cell", cell)
            try:
                yield name, cell.cell_contents
            except ValueError:  # a variable that has no value yet
                continue
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        yield from ((path, value) for value in defaults)
        if is_user_file(code.co_filename) and not is_installed(code.co_filename):
            yield from self._globals(function.__globals__, _names(code))

    def _globals(self, namespace: dict[str, Any], names: set[str]) -> Iterator[tuple[str, Any]]:
        """The globals of a function that its code names, and those of the user's modules that it names."""
        used = sorted(name for name in names if name in namespace)
        self._hold("", "names", namespace, tuple(sorted(names)))  # also those that the code may add
        for name in used:
            value = namespace[name]
            if isinstance(value, types.ModuleType):
                if _is_users(value):
                    yield from self._globals(vars(value), names)
            else:
                yield name, value


def _names(code: types.CodeType) -> set[str]:
    """All names that a function's code, and the functions inside of it, look up."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


def _slots(kind: type) -> Iterable[str]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else [name for name in slots if name not in ("__dict__", "__weakref__")]


def _is_users(item: type | types.ModuleType) -> bool:
    """Whether a class or a module stands in a file of the user's own."""
    module = item if isinstance(item, types.ModuleType) else sys.modules.get(item.__module__)
    file = getattr(module, "__file__", None)
    if file is None and isinstance(item, type):  # of a module that was never imported by name, such as a notebook's
        functions = [value for value in vars(item).values() if isinstance(value, types.FunctionType)]
        file = functions[0].__code__.co_filename if functions and item.__module__ != "builtins" else None
    if file is None:
        return getattr(module, "__name__", "") == "__main__"
    return is_user_file(file) and not is_installed(file)
