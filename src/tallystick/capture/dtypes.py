"""PyTorch's dtypes and the storage types that hold them."""

from __future__ import annotations

import torch

from tallystick.errors import CaptureError
from tallystick.spec.tensors import DType

_STORAGE: dict[torch.dtype, DType] = {
    torch.float32: DType.F32,
    torch.bfloat16: DType.BF16,
    torch.float16: DType.F16,
    torch.int64: DType.I32,
    torch.int32: DType.I32,
    torch.int16: DType.I32,
    torch.int8: DType.I8,
    torch.uint8: DType.U8,
    torch.bool: DType.BOOL,
}
FLOATS = frozenset({DType.F32, DType.BF16, DType.F16})


def storage_dtype(dtype: torch.dtype) -> DType:
    """The storage type that holds a PyTorch dtype: int64 and int16 are held as int32.

    Raises: CaptureError for a dtype that the representation does not have.
    """
    if dtype not in _STORAGE:
        advice = "use float32" if dtype.is_floating_point or dtype.is_complex else "use int32 or int64"
        raise CaptureError(f"a tensor of dtype {dtype} cannot be captured: {advice}")
    return _STORAGE[dtype]
