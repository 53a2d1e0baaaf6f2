"""Modules beside the model whose parameters and buffers a loss uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tallystick.capture.reach.world import World
from tallystick.errors import TallystickError


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, of one that ``torch.compile`` wraps."""
    inner = getattr(model, "_orig_mod", None)
    return inner if type(model).__name__ == "OptimizedModule" and isinstance(inner, nn.Module) else model


def candidates(model: nn.Module, world: World) -> dict[str, nn.Module]:
    """The modules that are reached, hold tensors, and are no part of the model, by what the user's code calls them."""
    inside = {id(module) for module in model.modules()}
    found: dict[str, nn.Module] = {}
    for path, module in world.found.modules.items():
        if id(module) in inside or any(part is model for part in module.modules()):
            continue
        if any(True for _ in module.parameters()) or any(True for _ in module.buffers()):
            found[_called(path)] = module
    return found


def hidden_modules(world: World) -> set[str]:
    """Names of the modules that the model itself holds, registered or not."""
    return {_called(path) for path in world.found.modules if path.startswith("model.")}


def modules_beside(model: nn.Module, loss: Any) -> dict[str, nn.Module]:
    """The modules with tensors that a loss reaches beside the model, by what its code calls them."""
    model = unwrapped(model)
    return candidates(model, World([("model", model), ("loss", loss)]))


def _called(path: str) -> str:
    """A path without what every name would begin with."""
    if path == "loss":
        return ""
    return path.removeprefix("model.").removeprefix("loss.")


def used_modules(
    model: nn.Module, world: World, make_step: Callable[[Mapping[str, nn.Module]], Any]
) -> dict[str, nn.Module]:
    """Those of the candidates that the loss uses: the step is run once on shapes alone, and watched."""
    found = candidates(model, world)
    if not found:
        return {}
    touched = _Touched()
    step = make_step({})
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), touched, _DataKept(touched):
            tensors = [torch.empty(made.shape, dtype=made.dtype) for made in step.inputs]
            step.look(tensors)
    except (TallystickError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return found  # what is wrong is said when the step is traced
    finally:
        world.restore()
    return {path: module for path, module in found.items() if touched.any_of(module)}


class _Touched(TorchDispatchMode):
    """Remembers which tensors that hold data are operands."""

    def __init__(self) -> None:
        super().__init__()
        self._pointers: set[int] = set()

    def touch(self, tensor: Tensor) -> None:
        self._pointers.add(_pointer(tensor))

    def any_of(self, module: nn.Module) -> bool:
        return any(_pointer(tensor) in self._pointers for tensor in (*module.parameters(), *module.buffers()))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for arg in tree_leaves((args, kwargs)):
            if _holds_data(arg):
                self.touch(arg)
        written = [
            n for n, a in enumerate(func._schema.arguments) if a.alias_info is not None and a.alias_info.is_write
        ]
        if any(n < len(args) and _holds_data(args[n]) for n in written):
            return args[written[0]]  # it is the user's: looking must not change it
        return func(*args, **(kwargs or {}))


class _DataKept(TorchFunctionMode):
    """Leaves alone what ``p.data = value`` would exchange, which is no operator."""

    def __init__(self, touched: _Touched) -> None:
        super().__init__()
        self._touched = touched

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == Tensor.data.__set__ and _holds_data(args[0]):  # pyright: ignore[reportAttributeAccessIssue]
            self._touched.touch(args[0])
            return None
        return func(*args, **(kwargs or {}))


def _holds_data(item: Any) -> bool:
    return isinstance(item, Tensor) and type(item) in (Tensor, nn.Parameter)


def _pointer(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else 0
