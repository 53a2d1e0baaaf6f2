"""PyTorch with the integers of a program: 32 bits."""

from __future__ import annotations

import numpy as np
import torch


class Wrapping(torch.overrides.TorchFunctionMode):
    """Cuts every integer to 32 bits, as the program's words do."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dtype is torch.int64:
            return torch.from_numpy(result.numpy().astype(np.int32).astype(np.int64))
        return result
