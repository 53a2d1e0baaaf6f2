"""Running a recorded graph again under a tracer: the same operators, whatever strides their operands have by then.

A value of the first record has strides that say where its elements lie in a storage, and views of one storage see each
other's writes. In a second run an operator may have been written out in others, so the same value may lie in another
order. Nothing but ``view`` and ``as_strided`` can tell: the first is given a copy where it needs one
(``strides.view``), the second is told from the storage as it was when it was recorded.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from tallystick.capture.tracing.provenance import SOURCE
from tallystick.capture.tracing.strides import by_plain_views, memory_order, overlaps, windows
from tallystick.errors import CaptureError

aten = torch.ops.aten


class SourceKeeper(fx.Interpreter):
    """Runs a graph under a tracer, handing every node's source on to the nodes made from it."""

    def __init__(self, module: fx.GraphModule) -> None:
        # Values stay: a later node may count its strides from the first tensor of a storage.
        super().__init__(module, garbage_collect_values=False)
        self.extra_traceback = False  # errors name the user's line instead

    def evaluate(self, n: fx.Node) -> Any:
        """The value of a node."""
        return super().run_node(n)

    def run_node(self, n: fx.Node) -> Any:
        proxy_mode = get_proxy_mode()
        assert proxy_mode is not None, "run while tracing"
        graph = proxy_mode.tracer.graph
        last = next(iter(reversed(graph.nodes)), None)
        try:
            result = self.evaluate(n)
        except CaptureError:
            raise
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise CaptureError(f"{n.meta.get(SOURCE)}\n  {n.target}: {type(error).__name__}: {error}") from error
        for node in reversed(graph.nodes):
            if node is last:
                break
            node.meta[SOURCE] = n.meta.get(SOURCE)
        return result


class Rerun(SourceKeeper):
    """The second run of what was recorded while the user's code ran: views and writes as they were in memory."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self._windows: set[fx.Node] = set()  # views of windows that are no plain views
        self._written_out: dict[Any, Callable[[fx.Node], Any]] = {
            aten.as_strided.default: self._strided,
            aten.as_strided_copy.default: self._strided,
            aten.unfold.default: self._windowed,
        }
        self._first_of_storage: dict[int, fx.Node] = {}
        for node in module.graph.nodes:
            value = node.meta.get("val")
            if isinstance(value, Tensor) and value.layout is torch.strided:
                self._first_of_storage.setdefault(storage_of(value), node)
        self._changed = {
            storage_of(given.meta["val"])
            for node in module.graph.nodes
            for given, is_write in aliased(node)
            if is_write
        }

    def get_attr(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A tensor that the code closed over: what is made of it may be written to, as what is made of inputs."""
        # pyright: ignore below: functionalisation by hand has no public name.
        made = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
        return made._wrap_functional_tensor(super().get_attr(target, args, kwargs), made.maybe_current_level())

    def evaluate(self, n: fx.Node) -> Any:
        self._require_own_places(n)
        return self._written_out.get(n.target, super().evaluate)(n)

    def _require_own_places(self, n: fx.Node) -> None:
        """Refuse writes whose order would decide, and those that functionalisation cannot follow back."""
        if n.target is operator.getitem and n.args[0] in self._windows:
            self._windows.add(n)
        for given, is_write in aliased(n):
            if given in self._windows and not is_write:
                self._windows.add(n)
            if is_write and (given in self._windows or overlaps(given.meta["val"])):
                raise CaptureError(
                    f"{n.meta.get(SOURCE)}\n  writes into windows or strides whose elements share memory, or have gaps "
                    "between them: write into a .clone(), or into the tensor itself, as by slices or index_add"
                )

    def _windowed(self, n: fx.Node) -> Tensor:
        """``unfold``, whose inverse PyTorch takes to be zero where no window sees, as views that have no gaps."""
        (x, dimension, size, step), _ = self.fetch_args_kwargs_from_env(n)
        seen = windows(x, dimension, size, step) if storage_of(n.meta["val"]) in self._changed else None
        if seen is None:
            self._windows.add(n)
            return x.unfold(dimension, size, step)
        return seen

    def _strided(self, n: fx.Node) -> Tensor:
        """``as_strided`` as a view of the first tensor of its storage, laid out in the order it had in memory."""
        (x, size, stride, *offset), _ = self.fetch_args_kwargs_from_env(n)
        operand = n.args[0]
        assert isinstance(operand, fx.Node), "as_strided has a tensor operand"
        first = self._first_of_storage[storage_of(operand.meta["val"])]
        recorded: Tensor = first.meta["val"]
        order = memory_order(recorded)
        place = operand.meta["val"].storage_offset() if not offset or offset[0] is None else offset[0]
        place -= recorded.storage_offset()
        last = place + sum((extent - 1) * step for extent, step in zip(size, stride, strict=True))
        if order is None or place < 0 or last >= recorded.numel():
            raise CaptureError(
                f"{n.meta.get(SOURCE)}\n  as_strided over memory that a tensor of shape {tuple(recorded.shape)} and "
                f"strides {recorded.stride()} does not fill; call .contiguous() on that tensor first"
            )
        whole = x if first is operand else self.env[first]
        if whole.dim() != 1:
            whole = whole.permute(order).view(-1)
        # Views that say what they do: functionalisation cannot follow writes through strides behind other views.
        is_changed = storage_of(recorded) in self._changed
        seen = by_plain_views(whole, size, stride, place) if is_changed else None
        return whole.as_strided(size, stride, place) if seen is None else seen


def aliased(n: fx.Node) -> Iterator[tuple[fx.Node, bool]]:
    """The operands of an operator that its result is a view of (False), or that it writes to (True)."""
    if n.op == "call_function" and isinstance(n.target, OpOverload):
        for argument, given in zip(n.target._schema.arguments, n.args, strict=False):
            if argument.alias_info is not None and isinstance(given, fx.Node):
                yield given, argument.alias_info.is_write


def storage_of(tensor: Tensor) -> int:
    """What two tensors have in common if one sees what is written to the other."""
    return tensor.untyped_storage()._cdata
