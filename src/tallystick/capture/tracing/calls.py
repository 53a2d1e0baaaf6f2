"""Calls of PyTorch's functions that are exchanged while the user's code is traced, before they become operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from tallystick.capture.tracing import masks, packed
from tallystick.capture.tracing.attention import attention
from tallystick.capture.tracing.sparse import SparseCalls

_EXCHANGED: dict[Any, Callable[..., Any]] = {
    F.scaled_dot_product_attention: attention,
    **masks.CALLS,
    **packed.CALLS,
}


class CallWriter(TorchFunctionMode):
    """Writes calls out whose operators would lower badly, or not at all; PyTorch does the rest."""

    def __init__(self) -> None:
        super().__init__()
        self._sparse = SparseCalls()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        exchanged = _EXCHANGED.get(func)
        if exchanged is not None:
            return exchanged(*args, **kwargs)
        result = self._sparse(func, args, kwargs)
        return func(*args, **kwargs) if result is NotImplemented else result
