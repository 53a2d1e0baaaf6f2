"""Functions of PyTorch that are replaced as a whole while the user's code is traced, before autograd sees them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tallystick.capture.tracing import masks, packed
from tallystick.capture.tracing.attention import attention
from tallystick.capture.tracing.ctc import ctc_loss, ctc_loss_by_number
from tallystick.capture.tracing.rewrites import index_fill, linear_cross_entropy, renorm
from tallystick.capture.tracing.selection import masked_select
from tallystick.capture.tracing.sparse import SparseCalls


class FunctionWriter(TorchFunctionMode):
    """Calls ours for those functions that have one, and those of sparse tensors."""

    def __init__(self) -> None:
        super().__init__()
        self._sparse = SparseCalls()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        ours = _OURS.get(func)
        if ours is not None:
            return ours(*args, **kwargs)
        result = self._sparse(func, args, kwargs)
        return func(*args, **kwargs) if result is NotImplemented else result


def dense(embedding: Callable[..., Tensor]) -> Callable[..., Any]:
    """An embedding without sparse gradients: their numbers are those of dense ones, which is what a program has."""
    call = packed.CALLS.get(embedding, embedding)  # what is looked up may be packed
    place = list(inspect.signature(embedding).parameters).index("sparse")

    def with_dense_gradient(*args: Any, **kwargs: Any) -> Tensor:
        args = tuple(False if i == place else argument for i, argument in enumerate(args))
        return call(*args, **{name: name != "sparse" and value for name, value in kwargs.items()})

    return with_dense_gradient


_OURS: Mapping[Callable, Callable] = {
    F.ctc_loss: ctc_loss,
    F.linear_cross_entropy: linear_cross_entropy,
    F.scaled_dot_product_attention: attention,
    torch.ctc_loss: ctc_loss_by_number,
    torch.index_fill: index_fill,
    Tensor.index_fill: index_fill,
    torch.renorm: renorm,
    Tensor.renorm: renorm,
    torch.masked_select: masked_select,
    Tensor.masked_select: masked_select,
    **masks.CALLS,
    **packed.CALLS,
    F.embedding: dense(F.embedding),
    F.embedding_bag: dense(F.embedding_bag),
}
