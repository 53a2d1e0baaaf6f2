"""Which computation made a tensor: value numbers, and the values that follow from constants alone.

Every operator that the user's code runs is entered. Two tensors have the same number only if the same operators made
them from the same inputs with the same arguments, in whatever memory they lie: what a storage holds is numbered, anew
after every write, and a tensor is a view of that. A number also says which inputs it depends on. What depends on none
that changes from step to step can be computed when somebody asks for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

aten = torch.ops.aten

LARGEST = 1 << 24  # elements of a value that is computed because somebody asks for it
# Their results are new memory, though PyTorch says that they alias what they are given.
_FRESH = frozenset({aten.lift_fresh.default, aten.lift_fresh_copy.default, aten.lift.default})


@contextmanager
def on_values() -> Iterator[None]:
    """Compute on tensors that hold data, past the tracer."""
    with _disable_current_modes(), torch.no_grad():
        yield


class Ref(NamedTuple):
    """A tensor: a view of what a storage holds."""

    content: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype


class Real(NamedTuple):
    """A float argument: 0.0 and -0.0 differ, and NaN is itself."""

    text: str


class Items(NamedTuple):
    items: tuple[Any, ...]


_BOOLS = {True: ("true",), False: ("false",)}


class Made(NamedTuple):
    """How the content of a storage was made: an operator, its arguments, and which result or argument it is."""

    func: OpOverload
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    result: int | None  # None: the argument at ``place`` was written
    place: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype


class _Storage:
    """The content of a storage now. ``real``: it holds data, and is not of this step."""

    __slots__ = ("content", "keep", "real", "start")

    def __init__(self, content: int, keep: Any, real: bool) -> None:
        self.content = self.start = content
        self.keep, self.real = keep, real


class Ledger:
    """The numbers of one trace and of its repetition."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self.depends: list[int] = []  # by content: a bit for every input it depends on
        self.made: list[Made | None] = []  # by content
        self.values: dict[int, Tensor] = {}  # by content: the elements of the storage, in one dimension
        self._storages: dict[int, _Storage] = {}
        self._writes: dict[OpOverload, tuple[int, ...]] = {}
        self._views: dict[OpOverload, bool] = {}

    # ENTERING
    def input(self, tensor: Tensor, name: str, bit: int, value: Callable[[], Tensor] | None = None) -> None:
        """Enter an input of the step. ``value`` gives what it holds, for inputs that may be asked for."""
        content = self._number(("input", name), 1 << bit, None)
        if value is not None and content not in self.values:
            self._lazy(content, value)
        storage = tensor.untyped_storage()
        self._storages[storage._cdata] = _Storage(content, storage, False)

    def _lazy(self, content: int, value: Callable[[], Tensor]) -> None:
        self.values[content] = _Later(value)  # pyright: ignore[reportArgumentType]

    def encode(self, item: Any) -> Any:
        """An argument as something that compares and hashes; ``decoded`` undoes it."""
        kind = type(item)
        if kind is int or item is None or kind is str:
            return item
        if isinstance(item, Tensor):
            return self.ref(item)
        if kind is bool:
            return _BOOLS[item]
        if kind is float:
            return Real(item.hex())
        if isinstance(item, (list, tuple)):
            return Items(tuple(self.encode(part) for part in item))
        if isinstance(item, torch.Generator):
            return ("generator", id(item))
        return item

    def ref(self, tensor: Tensor) -> Ref:
        """The number of a tensor."""
        storage = self.storage(tensor)
        return Ref(
            storage.content, tuple(tensor.shape), tuple(tensor.stride()), int(tensor.storage_offset()), tensor.dtype
        )

    def storage(self, tensor: Tensor) -> _Storage:
        """The storage of a tensor; one that holds data is entered when it is first seen."""
        found = self._storages.get(tensor.untyped_storage()._cdata)
        return self._real(tensor) if found is None else found

    def _real(self, tensor: Tensor) -> _Storage:
        kept = tensor.untyped_storage()
        if isinstance(tensor, FakeTensor):  # made where no operator was seen: like nothing else
            content = self._number(("unknown", kept._cdata), -1, None)
            self._storages[kept._cdata] = _Storage(content, kept, False)
            return self._storages[kept._cdata]
        with on_values():
            flat = _flat(tensor.resolve_conj().resolve_neg())
            digest = hashlib.blake2b(flat.view(torch.uint8).numpy().tobytes(), digest_size=16).digest()
        content = self._number(("real", tensor.dtype, digest), 0, None)
        self.values.setdefault(content, flat)
        self._storages[kept._cdata] = _Storage(content, (kept, tensor), True)
        return self._storages[kept._cdata]

    def enter(self, func: OpOverload, args: tuple, kwargs: tuple, tensors: Sequence[Any], results: Any) -> None:
        """Enter what an operator made. ``args`` and ``kwargs`` are encoded, ``tensors`` the arguments themselves."""
        depends = 0
        for ref in refs((args, kwargs)):
            depends |= self.depends[ref.content]
        for place in self.writes(func, tensors):
            if place < len(tensors) and isinstance(tensors[place], Tensor):
                storage = self.storage(tensors[place])
                before = self.depends[storage.content]
                storage.content = self._made(func, args, kwargs, None, place, tensors[place], depends | before)
        found = results if isinstance(results, (list, tuple)) else (results,)
        for number, result in enumerate(found):
            if isinstance(result, Tensor) and result.untyped_storage()._cdata not in self._storages:
                self._new(func, args, kwargs, number, result, depends)

    def _new(self, func: OpOverload, args: tuple, kwargs: tuple, number: int, result: Tensor, depends: int) -> None:
        kept = result.untyped_storage()
        base = next(refs((args,)), None)
        if base is not None and self.is_view(func):
            # A view of a tensor that holds data: what is written into it is written into that.
            real = any(s.content == base.content and s.real for s in self._storages.values())
            self._storages[kept._cdata] = _Storage(base.content, kept, real)
            return
        content = self._made(func, args, kwargs, number, 0, result, depends)
        self._storages[kept._cdata] = _Storage(content, kept, False)

    def _made(
        self, func: OpOverload, args: tuple, kwargs: tuple, number: int | None, place: int, like: Tensor, depends: int
    ) -> int:
        geometry = tuple(like.shape), tuple(like.stride()), int(like.storage_offset()), like.dtype
        made = Made(func, args, kwargs, number, place, *geometry)
        return self._number(made, depends, made)

    def _number(self, key: Any, depends: int, made: Made | None) -> int:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.depends)
            self.depends.append(depends)
            self.made.append(made)
        return number

    def writes(self, func: OpOverload, arguments: Sequence[Any] = ()) -> tuple[int, ...]:
        """The places of the arguments that an operator writes."""
        if func in UNDECLARED_WRITES:
            return UNDECLARED_WRITES[func](arguments)
        found = self._writes.get(func)
        if found is None:
            declared = enumerate(func._schema.arguments)
            found = tuple(n for n, a in declared if a.alias_info is not None and a.alias_info.is_write)
            self._writes[func] = found
        return found

    def is_view(self, func: OpOverload) -> bool:
        """Whether an operator's result is its first argument's memory."""
        found = self._views.get(func)
        if found is None:
            returned = func._schema.returns
            aliases = any(r.alias_info is not None and not r.alias_info.is_write for r in returned)
            found = self._views[func] = aliases and func not in _FRESH
        return found

    @property
    def count(self) -> int:
        """How many different contents there are."""
        return len(self.depends)

    def forget(self, varying: int) -> None:
        """Let everything that depends on these inputs be like nothing else from now on."""
        for storage in self._storages.values():
            if self.depends[storage.content] & varying:
                storage.content = self._number(("left behind", id(storage)), -1, None)

    # ASKING
    def value(self, ref: Ref, known: int, given: Mapping[int, Tensor] | None = None) -> Tensor | None:
        """What a tensor holds, if it depends on no other inputs than those whose bits are in ``known``.

        ``given`` are contents of inputs for this question alone: then nothing is kept. None where it cannot be said.
        """
        values = self.values if given is None else _Layered(self.values, given)
        needed, waiting = set(), [ref.content]
        while waiting:
            content = waiting.pop()
            if content in needed or content in values:
                continue
            made = self.made[content]
            if made is None or self.depends[content] & ~known or _is_random(made.func):
                return None
            needed.add(content)
            waiting += [r.content for r in refs((made.args, made.kwargs))]
        with on_values():
            for content in sorted(needed):  # what is made is numbered after what it is made of
                made = self.made[content]
                assert made is not None, "only what was made is needed"
                result = self._evaluated(made, values)
                if result is None:
                    return None
                values[content] = result
            return self._seen(ref, values)

    def _seen(self, ref: Ref, values: Any) -> Tensor:
        flat = values[ref.content]
        if isinstance(flat, _Later):
            flat = values[ref.content] = _flat(flat.value())
        if flat.dtype != ref.dtype:
            flat = flat.view(ref.dtype)
        return flat.as_strided(ref.size, ref.stride, ref.offset)

    def _evaluated(self, made: Made, values: Any) -> Tensor | None:
        """The content that an operator makes, in the memory order of the traced one."""

        def decoded(item: Any) -> Any:
            if isinstance(item, Ref):
                return self._seen(item, values)
            if isinstance(item, Real):
                return float.fromhex(item.text)
            if isinstance(item, Items):
                return [decoded(part) for part in item.items]
            if type(item) is tuple:
                return item == _BOOLS[True]
            return item

        written = self.writes(made.func, made.args)
        args = [self._copied(arg, values) if n in written else decoded(arg) for n, arg in enumerate(made.args)]
        results = made.func(*args, **{name: decoded(item) for name, item in made.kwargs})
        if made.result is None:
            return _whole(args[made.place])
        result = results[made.result] if isinstance(results, (list, tuple)) else results
        if not isinstance(result, Tensor) or result.numel() > LARGEST:
            return None
        if tuple(result.stride()) == made.stride and result.storage_offset() == made.offset:
            return _whole(result)
        laid = torch.empty_strided(made.size, made.stride, dtype=made.dtype)
        return _whole(laid.copy_(result))

    def _copied(self, ref: Any, values: Any) -> Any:
        """An argument that will be written, in memory of its own."""
        if not isinstance(ref, Ref):
            return ref
        seen = self._seen(ref, values)
        return _flat(seen).clone().as_strided(ref.size, ref.stride, ref.offset)


def _statistics(arguments: Sequence[Any]) -> tuple[int, ...]:
    """In training, running means and variances; whether it is training is the sixth argument."""
    return (3, 4) if len(arguments) > 5 and arguments[5] in (True, _BOOLS[True]) else ()


# Writes that operators do not declare: their places, from the arguments.
UNDECLARED_WRITES: dict[OpOverload, Callable[[Sequence[Any]], tuple[int, ...]]] = {
    aten.native_batch_norm.default: _statistics,
}


class _Later:
    """A value that is looked up when somebody asks."""

    def __init__(self, value: Callable[[], Tensor]) -> None:
        self.value = value


class _Layered(dict):
    """Values of one question, above those that are kept."""

    def __init__(self, below: dict[int, Any], given: Mapping[int, Tensor]) -> None:
        super().__init__({content: _flat(value) for content, value in given.items()})
        self._below = below

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._below

    def __missing__(self, key: int) -> Any:
        return self._below[key]


def refs(items: Iterable[Any]) -> Any:
    """All tensors in encoded arguments."""
    for item in items:
        if type(item) is Ref:
            yield item
        elif type(item) is Items:
            yield from refs(item.items)
        elif type(item) is tuple:
            yield from refs(item)


def _is_random(func: OpOverload) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags or func.namespace == "tallystick"


def _flat(tensor: Tensor) -> Tensor:
    """All of a tensor's storage in one dimension."""
    return _whole(tensor.detach())


def _whole(tensor: Tensor) -> Tensor:
    count = tensor.untyped_storage().nbytes() // max(1, tensor.element_size())
    return tensor.as_strided((count,), (1,), 0)
