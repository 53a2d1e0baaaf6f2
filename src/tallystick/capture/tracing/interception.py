"""What cannot be seen as an operator: calls that take values out of tensors or exchange their memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot, set_proxy_slot
from torch.overrides import TorchFunctionMode

from tallystick.capture.tracing.provenance import describe_frame, reached_from, user_frame
from tallystick.capture.watching.branches import asking_frame
from tallystick.capture.watching.checks import Indexed
from tallystick.capture.watching.ledger import on_values
from tallystick.capture.watching.watch import Watch
from tallystick.errors import CaptureError


class Interceptor(TorchFunctionMode):
    """Answers or refuses such calls while the user's code is traced."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self._answers: dict[Any, Callable[..., Any]] = {
            F.one_hot: self._one_hot,
            Tensor.numpy: self._numpy,
            Tensor.__array__: self._array,
            Tensor.data.__set__: self._set_data,  # pyright: ignore[reportAttributeAccessIssue]
            Tensor.grad.__get__: self._grad,  # pyright: ignore
            Tensor.set_: self._set,
            Tensor.data_ptr: self._pointer,
            Tensor.__format__: self._format,
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        answer = self._answers.get(func)
        return func(*args, **kwargs) if answer is None else answer(func, *args, **kwargs)

    def _one_hot(self, func: Any, tensor: Tensor, num_classes: int = -1) -> Tensor:
        if num_classes == -1:
            value = self._watch.known(tensor, line) if isinstance(tensor, Tensor) else None
            if value is None:
                raise CaptureError(f"{line()}\n  one_hot needs its number of classes: F.one_hot(y, num_classes=...)")
            num_classes = int(value.max()) + 1
        if num_classes > 0:
            self._watch.check_index(Indexed(tensor, 0, num_classes, None, "a class of one_hot"), line)
        return func(tensor, num_classes)

    def _numpy(self, func: Any, tensor: Tensor, **options: Any) -> Any:
        if not isinstance(tensor, FakeTensor):
            return func(tensor, **options)
        value = self._watch.known(tensor.detach(), line)
        if value is None:
            raise CaptureError(
                f"{line()}\n  takes the values of a tensor out of PyTorch (numpy), which depend on data: write it with "
                "operators of PyTorch, or compute it before the job and pass it as data"
            )
        with on_values():
            return value.clone().numpy()

    def _array(self, func: Any, tensor: Tensor, dtype: Any = None) -> Any:
        found = self._numpy(Tensor.numpy, tensor)
        return found if dtype is None else found.astype(dtype, copy=False)

    def _set_data(self, func: Any, tensor: Tensor, value: Tensor) -> None:
        """``p.data = value``: what p holds is replaced, past autograd."""
        if not isinstance(tensor, FakeTensor):
            self._watch.refuse_write(tensor, line)
        if value.shape != tensor.shape or value.dtype != tensor.dtype:
            raise CaptureError(
                f"{line()}\n  .data is set to a {value.dtype} of shape {tuple(value.shape)}, and was a "
                f"{tensor.dtype} of shape {tuple(tensor.shape)}: a state keeps its type"
            )
        if self._watch.is_lent(value, but=tensor):
            raise CaptureError(
                f"{line()}\n  .data is set to the memory of another parameter or buffer, so that both would be one "
                "from then on: .clone() what it is set to"
            )
        # The tensor gets the memory of the value: what else sees its old memory keeps that.
        value = value.detach()
        func(tensor, value)
        mode = get_proxy_mode()
        if mode is not None:
            set_proxy_slot(tensor, mode.tracer, get_proxy_slot(value, mode.tracer))

    def _grad(self, func: Any, tensor: Tensor, *args: Any) -> Any:
        """``p.grad``, which in the usual loop is that of the step before, if nothing has cleared it."""
        found = func(tensor, *args)
        frame = asking_frame()
        clears = frame is not None and frame.f_code.co_name == "zero_grad"
        if found is None and tensor.requires_grad and self._watch.is_lent(tensor) and not clears:
            raise CaptureError(
                f"{line()}\n  reads the gradient of a parameter, which is that of the step before or none: keep what "
                "is needed of it in a buffer, or take it inside the loss with torch.autograd.grad"
            )
        return found

    def _set(self, func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        raise CaptureError(f"{line()}\n  set_ exchanges a tensor's memory: write with .copy_() instead")

    def _pointer(self, func: Any, tensor: Tensor) -> Any:
        if isinstance(tensor, FakeTensor):
            raise CaptureError(f"{line()}\n  asks where a tensor lies in memory (data_ptr), which no program knows")
        return func(tensor)

    def _format(self, func: Any, tensor: Tensor, spec: str = "") -> str:
        """A number written into a message: only a value that is known can be shown while a step is traced."""
        value = self._watch.known(tensor.detach(), line) if isinstance(tensor, FakeTensor) else tensor
        if value is None:
            return "(known when it runs)"
        with on_values():
            return format(value.item() if value.dim() == 0 else value, spec)


def line() -> str:
    """The user's line that is being run, and what led to it."""
    frame = user_frame(sys._getframe(1))
    return f"{describe_frame(frame)}{reached_from(sys._getframe(1))}"
