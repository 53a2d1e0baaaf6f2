"""What is watched while the user's code runs, once to be recorded and once more to see that it does the same again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.capture.inputs import Input, Role
from tallystick.capture.tracing.dependence import explain
from tallystick.capture.tracing.remedies import remedy, setting_for
from tallystick.capture.watching.branches import asking_frame, assumption
from tallystick.capture.watching.checks import Check, Indexed, finder, outside, range_text
from tallystick.capture.watching.intervals import Intervals
from tallystick.capture.watching.ledger import Ledger, Real, Ref, on_values
from tallystick.capture.watching.surroundings import Surroundings, range_of, value_of
from tallystick.errors import CaptureError

aten = torch.ops.aten

UNKNOWN = object()  # nothing is known of an answer
_MASKED = frozenset({"index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put"})
_ASKING = frozenset({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape})
_ASSERTS = ("aten::_assert_async",)
WORD = 1 << 31
# Operators whose integers may be larger than what they are made of.
_GROWING = frozenset(
    f"aten::{name}{in_place}" for name in ("add", "sub", "mul", "sum", "cumsum") for in_place in ("", "_")
)


_attempting: ContextVar[bool] = ContextVar("attempting", default=False)


@contextmanager
def attempted() -> Iterator[None]:
    """Inside, an error is not the end: whoever is inside has another way."""
    token = _attempting.set(True)
    try:
        yield
    finally:
        _attempting.reset(token)


class Watch:
    """The watch over one trace."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.ledger = Ledger()
        self.intervals = Intervals(self.ledger)
        self.checks: list[Check] = []
        self.first = True  # the run that is recorded, not its repetition
        self.asked: dict[str, str] = {}  # inputs whose value Python was told, and the line that asked
        self.different: str | None = None  # the first line of the repetition that did something else
        self.contents: dict[str, int] = {}  # of the inputs
        self.after: dict[str, Ref] = {}
        self.error: CaptureError | None = None  # the first that was raised
        self._lent: dict[str, Ref] = {}  # most recently
        self._lent_first: dict[str, Ref] = {}  # in this run
        self._names: dict[int, str] = {}  # of the tensors that are lent
        self._checked: set[Any] = set()
        self._bits = {made.name: number for number, made in enumerate(around.inputs)}
        self._never = sum(1 << n for n, made in enumerate(around.inputs) if self._may_vary(made))

    def _may_vary(self, made: Input) -> bool:
        return made.role is not Role.CONSTANT and made.name not in self.around.steady

    # A RUN
    def begin(self, tensors: Sequence[Tensor]) -> None:
        """Enter the inputs of a run."""
        self._lent_first.clear()
        for made, tensor in zip(self.around.inputs, tensors, strict=True):
            bit = self._bits[made.name]
            self.ledger.input(tensor, made.name, bit, None if made.array is None else value_of(made))
            content = self.ledger.storage(tensor).content
            self.contents[made.name] = content
            declared = {**self.around.within, **self.around.ranges}
            trusted = 1 << bit if made.role is Role.STATE and made.name not in declared else 0
            self.intervals.given.setdefault(content, (trusted, range_of(made, declared)))

    def lend(self, name: str, tensor: Tensor) -> Tensor:
        """Note what a tensor holds that is lent to the user's code under the name of an input; returns it."""
        self._lent[name] = self.ledger.ref(tensor)
        self._lent_first.setdefault(name, self._lent[name])
        self._names[id(tensor)] = name
        return tensor

    def changed(self, name: str, after: Tensor) -> bool:
        """Whether what was lent under a name holds, or is, something else now."""
        return self.ledger.ref(after) != self._lent[name]

    def leave(self, after: Mapping[str, Tensor]) -> None:
        """Note what state is after the user's code, by the names of inputs."""
        self.after = {name: self.ledger.ref(tensor) for name, tensor in after.items()}

    @property
    def unchanged(self) -> set[str]:
        """Names of what was lent and is still the same."""
        return {name for name, ref in self.after.items() if self._lent_first.get(name) == ref}

    def varying(self) -> int:
        """Bits of the inputs that differ from step to step."""
        return self._never | self._bits_of(self.around.steady - self.unchanged)

    def _bits_of(self, names: Iterable[str]) -> int:
        return sum(1 << self._bits[name] for name in names)

    def repeat(self) -> None:
        """Get ready for the second run: what the first left behind may be used only if it is the same in every step."""
        self.first = False
        self.ledger.forget(self.varying())

    def numbers(self, tensors: Iterable[Tensor]) -> list[Ref]:
        return [self.ledger.ref(tensor) for tensor in tensors]

    # AN OPERATOR
    def run(
        self, func: OpOverload, args: tuple, kwargs: dict[str, Any], line: Callable[[], str], ours: bool = False
    ) -> Any:
        """Run one operator of the user's code, or of ours: enter it, answer what Python asks, check its indices.

        ``line`` describes where it stands.
        """
        func, args = self._without_masks(func, args, line)
        tensors = [*args, *(kwargs.get(a.name) for a in func._schema.arguments[len(args) :])] if kwargs else args
        self._refuse_writes(func, tensors, line)
        if not _ASKING.isdisjoint(func.tags):
            answer = self._answer(func, args, kwargs, line)
            if answer is not UNKNOWN:
                return answer
        if func._schema.name in _ASSERTS:
            self._note(args[0], True, "torch._assert_async", line)
            return None
        encoded = tuple(self.ledger.encode(arg) for arg in args)
        named = tuple((key, self.ledger.encode(kwargs[key])) for key in sorted(kwargs))
        if self.first and not ours and (find := finder(func)) is not None and not _in_backward():
            for indexed in find(args, kwargs):
                self.check_index(indexed, line)
        before = self.ledger.count
        # In the first run the tracer writes operators out.
        below = func if self.first else self.around.written_out.get(func, func)
        try:
            result = below(*args, **kwargs)
            if result is NotImplemented:
                result = func(*args, **kwargs)
        except RuntimeError as error:
            if _ASKING.isdisjoint(func.tags):
                raise
            text, helped = line(), remedy(sys._getframe(1))
            refusal = CaptureError(f"{text}\n  {helped or explain(func)}{setting_for(text)}")
            raise self.refused(refusal) from error
        for made in flat_tensors(result if isinstance(result, (list, tuple)) else (result,)):
            if made.layout is not torch.strided:
                raise CaptureError(
                    f"{line()}\n  {func} makes a {made.layout} tensor, which no program holds: make it dense, or "
                    "write the product with index_select and index_add over its indices and values"
                )
        self.ledger.enter(func, encoded, named, tensors, result)
        if not ours and func._schema.name in _GROWING and isinstance(result, Tensor) and not _in_backward():
            self._require_words(result, line)
        if not self.first and self.different is None and self.ledger.count > before:
            self.different = line()
        return result

    def _require_words(self, result: Tensor, line: Callable[[], str]) -> None:
        """Raises: CaptureError for integers that may lie beyond the 32 bits that a program has."""
        if result.dtype is not torch.int64:
            return
        found = self.intervals.of(self.ledger.ref(result))
        if found is not None and (found.low < -WORD or found.high >= WORD):
            raise CaptureError(
                f"{line()}\n  makes integers from {found.low} to {found.high}; those of a program have 32 bits. Take "
                "the "
                "remainder after every product, or compute with smaller numbers"
            )

    def _refuse_writes(self, func: OpOverload, tensors: Sequence[Any], line: Callable[[], str]) -> None:
        for place in self.ledger.writes(func, tensors):
            written = tensors[place] if place < len(tensors) else None
            if isinstance(written, Tensor):
                self.refuse_write(written, line)
        if not self.around.trains or not torch.is_grad_enabled() or func is aten.detach.default:
            return
        for tensor in flat_tensors(tensors):
            if tensor.requires_grad and self.ledger.storage(tensor).real:
                raise CaptureError(f"{line()}\n  {self._untrained(tensor)}")

    def refused(self, error: CaptureError) -> CaptureError:
        """Remember an error, for the user's code may catch it as its own. Attempts of ours may fail."""
        if not _attempting.get():
            self.error = self.error or error
        return error

    def refuse_write(self, tensor: Tensor, line: Callable[[], str]) -> None:
        """Raises: CaptureError if a tensor holds data of its own, which no program could keep."""
        if self.ledger.storage(tensor).real:
            named = self._called(tensor)
            raise CaptureError(
                f"{line()}\n  writes into {named or 'a tensor that is no part of the job'}, which keeps what is "
                "written from step to step: make it a buffer of a module (self.register_buffer) that the model or "
                "the loss holds; if it is made anew in every step, .clone() it before writing"
            )

    def _called(self, tensor: Tensor) -> str | None:
        return None if self.around.naming is None else self.around.naming(tensor)

    def is_lent(self, tensor: Tensor, but: Tensor | None = None) -> bool:
        """Whether a tensor is, or is a view of, what is lent to the user's code, other than ``but`` itself."""
        content = self.ledger.storage(tensor).content
        own = None if but is None else self._names.get(id(but))
        return any(ref.content == content and name != own for name, ref in self._lent.items())

    def _untrained(self, tensor: Tensor) -> str:
        named = self._called(tensor) or f"a tensor of shape {tuple(tensor.shape)}"
        for name, mine in self.around.own.items():
            if tensor.numel() and tensor.data_ptr() == mine.data_ptr():
                return taken_before(name)
        if tensor.is_leaf:
            return (
                f"needs the gradient of {named}, which no module of the job holds: make it an nn.Parameter of the "
                "model, or of a module that the loss uses; if it is not to be trained, use it .detach()ed"
            )
        return (
            f"uses {named}, which was computed from parameters before the step: compute it inside the loss, from the "
            "model that the loss is given; or .detach() it if nothing is to flow through it"
        )

    # WHAT PYTHON ASKS
    def _without_masks(self, func: OpOverload, args: tuple, line: Callable[[], str]) -> tuple[OpOverload, tuple]:
        """Indices instead of masks whose values are known."""
        if func is aten.masked_select.default and self.known(args[1], line) is not None:
            shape = torch.broadcast_shapes(args[0].shape, args[1].shape)
            func, args = aten.index.Tensor, (args[0].expand(shape), [args[1].expand(shape)])
        if func._schema.name.partition("::")[2] not in _MASKED or len(args) < 2:
            return func, args
        indices: list[Any] = []
        for index in args[1]:
            axis = len(indices)
            if index is None or index.dtype not in (torch.bool, torch.uint8):
                indices.append(index)
                continue
            mask = self.known(index, line)
            if mask is None or mask.shape != args[0].shape[axis : axis + mask.dim()]:
                return func, args  # PyTorch says what is wrong with a mask of another shape
            with on_values():
                indices += [place.contiguous() for place in mask.bool().nonzero().unbind(1)]
        return func, (args[0], indices, *args[2:])

    def known(self, tensor: Tensor, line: Callable[[], str]) -> Tensor | None:
        """What a tensor holds in every step, if that can be said."""
        ref = self.ledger.ref(tensor)
        value = self.ledger.value(ref, ~self._never)
        if value is not None:
            self._trust(self.ledger.depends[ref.content], line)
        return value

    def _trust(self, inputs: int, line: Callable[[], str]) -> None:
        """Remember that Python, or a proof, relied on inputs that may turn out to change."""
        for name in self.around.steady:
            if inputs >> self._bits[name] & 1 and name not in self.asked:
                self.asked[name] = line()

    def _answer(self, func: OpOverload, args: tuple, kwargs: dict[str, Any], line: Callable[[], str]) -> Any:
        if not any(isinstance(arg, (list, tuple)) for arg in args):
            known = [self.known(arg, line) if isinstance(arg, Tensor) else arg for arg in args]
            if not any(value is None and isinstance(arg, Tensor) for arg, value in zip(args, known, strict=True)):
                with on_values():
                    return func(*known, **kwargs)
        if func is not aten._local_scalar_dense.default:
            return UNKNOWN
        return self._scalar(args[0], line)

    def _scalar(self, tensor: Tensor, line: Callable[[], str]) -> Any:
        """A number that Python asks for: one that is certain whatever the data, or one that only a check asks for."""
        found = self.intervals.of(self.ledger.ref(tensor))
        if found is not None and found.low == found.high:
            self._trust(found.inputs, line)
            return bool(found.low) if tensor.dtype is torch.bool else found.low
        if tensor.dtype is not torch.bool:
            return UNKNOWN
        if self._is_drawn_above_zero(tensor):
            self._note(tensor, True, "a random number is exactly 0, which happens once in 16 million draws", line)
            return True
        frame = asking_frame()
        assumed = None if frame is None else assumption(frame)
        if assumed is None:
            return UNKNOWN
        if not assumed.harmless:
            self._note(tensor, assumed.value, "a check of values", line)
        return assumed.value

    def _is_drawn_above_zero(self, tensor: Tensor) -> bool:
        """Whether a truth value is ``draw > 0.0``: false for one number of 2^24 that may be drawn."""
        made = self.ledger.made[self.ledger.ref(tensor).content]
        if made is None or made.func._schema.name != "aten::gt" or made.args[1] not in (0, Real((0.0).hex())):
            return False
        drawn = self.intervals.of(made.args[0])
        return drawn is not None and drawn.low == 0.0 and isinstance(drawn.high, float) and 0.9 < drawn.high < 1.0

    # CHECKS
    def _note(self, condition: Tensor, expected: bool, what: str, line: Callable[[], str]) -> None:
        """Have the program note when a condition is not what it should be."""
        if not self.first:
            return
        with torch.no_grad():
            truth = condition.detach() != 0
            bad = truth.logical_not().any() if expected else truth.any()
        self.checks.append(Check(bad, line(), what, -1))

    def check_index(self, indexed: Indexed, line: Callable[[], str]) -> None:
        """Prove that an index lies inside, refuse it if it certainly does not, or have the program watch it."""
        if indexed.index.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
            return
        ref = self.ledger.ref(indexed.index)
        key = (ref, indexed.low, indexed.high, indexed.ignored)
        if key in self._checked or not indexed.index.numel():
            return
        self._checked.add(key)
        value = self.ledger.value(ref, 0)
        if value is not None:
            self._require_inside(value, indexed, line)
            return
        found = self.intervals.of(ref)
        inside = found is not None and indexed.low <= found.low and found.high < indexed.high
        if inside and found is not None and not found.inputs:
            return
        with torch.no_grad():
            bad = outside(indexed._replace(index=indexed.index.detach()))
        within = indexed.low, indexed.high, indexed.ignored
        inputs = found.inputs if inside and found is not None else -1
        self.checks.append(
            Check(bad, line(), f"{indexed.what} outside of {range_text(*within[:2])}", inputs, ref, within)
        )

    def _require_inside(self, value: Tensor, indexed: Indexed, line: Callable[[], str]) -> None:
        with on_values():
            wrong = value[is_outside(value, indexed.low, indexed.high, indexed.ignored)]
            number = int(wrong.flatten()[0]) if wrong.numel() else None
        if number is not None:
            raise CaptureError(
                f"{line()}\n  {indexed.what} is {number}, outside of {range_text(indexed.low, indexed.high)}: enlarge "
                "the table, or use smaller numbers (shorter sequences, where these are positions)"
            )


def taken_before(name: str) -> str:
    """What is wrong with using a tensor of the model that was got hold of before the step."""
    return (
        f"uses a tensor of the model ({name}) that was taken from it before the step; take it from the model that the "
        "loss is given, inside the loss"
    )


def is_outside(value: Tensor, low: int, high: int, ignored: int | None) -> Tensor:
    wrong = (value < low) | (value >= high)
    return wrong if ignored is None else wrong & (value != ignored)


def flat_tensors(items: Iterable[Any]) -> Iterable[Tensor]:
    for item in items:
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, (list, tuple)):
            yield from flat_tensors(item)


def _in_backward() -> bool:
    return torch._C._current_autograd_node() is not None
