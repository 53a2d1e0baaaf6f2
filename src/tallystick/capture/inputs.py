"""What a captured step reads: names, roles, and arrays as they are stored in a program's slots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import torch

from tallystick.capture.rounded_data import as_float32
from tallystick.errors import CaptureError

INT32 = np.iinfo(np.int32)
ROWS_AT_ONCE = 1 << 22  # elements converted at a time, so that a memory-mapped array is never read whole


class Role(Enum):
    """What a placeholder of the graph stands for."""

    STATE = "state"
    CONSTANT = "constant"
    STEP = "step"


@dataclass(frozen=True)
class Input:
    """A placeholder: its name in the program, what it is, the dtype PyTorch sees, and the array stored in its slot.

    ``note`` says what storing it has cost, if it has.
    """

    name: str
    role: Role
    dtype: torch.dtype
    shape: tuple[int, ...]
    array: np.ndarray | None = None
    note: str | None = None


# What PyTorch sees of an array by its numpy dtype, and how the slot stores it.
_SEEN: dict[np.dtype, torch.dtype] = {
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float16): torch.float16,
    np.dtype(np.int64): torch.int64,
    np.dtype(np.int32): torch.int32,
    np.dtype(np.int16): torch.int16,
    np.dtype(np.int8): torch.int8,
    np.dtype(np.uint8): torch.uint8,
    # PyTorch computes nothing with these three: they are the integers that fit.
    np.dtype(np.uint16): torch.int64,
    np.dtype(np.uint32): torch.int64,
    np.dtype(np.uint64): torch.int64,
    np.dtype(np.bool_): torch.bool,
}
_STORED: dict[np.dtype, type[np.generic]] = {
    np.dtype(kind): np.int32 for kind in (np.int64, np.int16, np.uint16, np.uint32, np.uint64)
}


def from_array(name: str, role: Role, array: np.ndarray) -> Input:
    """An input of a numpy array.

    Raises: CaptureError for a dtype the program cannot hold, and for an integer outside 32 bits.
    """
    native = array.dtype.newbyteorder("=")
    if native not in _SEEN:
        raise CaptureError(f"{name} has dtype {array.dtype}, which a program cannot hold; {_advice(native)}")
    stored = array
    if native in _STORED or native != array.dtype:
        stored = _converted(name, array, np.dtype(_STORED.get(native, native.type)))
    if native == np.float32:
        stored = _with_canonical_nans(stored)
    return Input(name, role, _SEEN[native], tuple(array.shape), stored)


def from_tensor(name: str, role: Role, tensor: torch.Tensor) -> Input:
    """An input of a PyTorch tensor; its data is copied, so that later training in PyTorch does not change it."""
    if tensor.is_sparse or tensor.is_quantized or tensor.device.type == "meta":
        raise CaptureError(f"{name} is a {tensor.layout} tensor on {tensor.device}: use a dense one that holds data")
    tensor = tensor.detach().cpu()
    if tensor.dtype is torch.bfloat16:
        bits = tensor.contiguous().view(torch.int16).numpy().view(np.uint16)
        return Input(name, role, tensor.dtype, tuple(tensor.shape), bits.copy())
    if tensor.is_complex():
        raise CaptureError(f"{name} is complex, which a program cannot hold: use real and imaginary parts")
    return from_array(name, role, np.array(tensor.numpy(), copy=True))


def batch_inputs(data: Mapping[str, object]) -> dict[str, Input]:
    """The inputs of a dataset: one per array, with row i of each belonging together.

    Raises: CaptureError if there is none, if rows are missing, or if arrays differ in their number of rows.
    """
    if not data:
        raise CaptureError('there is no data: pass data={"x": array, ...}, with the names that the loss takes')
    inputs: dict[str, Input] = {}
    for name, given in data.items():
        values, note = as_float32(f"data.{name}", given)
        if isinstance(values, torch.Tensor):
            made = from_tensor(f"data.{name}", Role.CONSTANT, values)
        elif isinstance(values, np.ndarray):
            made = from_array(f"data.{name}", Role.CONSTANT, values)
        else:
            raise CaptureError(f"data.{name} is a {type(values).__name__}: pass a numpy array or a torch tensor")
        if not made.shape or 0 in made.shape:
            raise CaptureError(f"data.{name} has shape {made.shape}: it needs at least one row and no empty axis")
        inputs[name] = replace(made, note=note)
    rows = {name: made.shape[0] for name, made in inputs.items()}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise CaptureError(f"row i of every data array belongs together, but {counts} rows")
    return inputs


def require_finite(made: Input) -> None:
    """Refuse a start value that is NaN or infinite: training from it could only yield NaN."""
    assert made.array is not None, "only slots with data are checked"
    if made.array.dtype == np.float32 and not np.isfinite(made.array).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(made.array))[0])
        raise CaptureError(f"{made.name}[{', '.join(map(str, at))}] is {made.array[at]} before the first step")


def _converted(name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy in the stored dtype; integers are checked against 32 bits, never wrapped."""
    stored = np.empty(array.shape, dtype)
    source, target = array.reshape(-1), stored.reshape(-1)
    for start in range(0, source.size, ROWS_AT_ONCE):
        part = source[start : start + ROWS_AT_ONCE]
        if dtype == np.int32 and part.size and (part.min() < INT32.min or part.max() > INT32.max):
            outside = int(np.flatnonzero((part < INT32.min) | (part > INT32.max))[0])
            at = ", ".join(str(int(i)) for i in np.unravel_index(start + outside, array.shape))
            raise CaptureError(
                f"{name}[{at}] is {int(part[outside])}, which does not fit the 32-bit integers of a program; "
                "renumber or rescale the values to lie within ±2147483647"
            )
        target[start : start + ROWS_AT_ONCE] = part
    return stored


def _with_canonical_nans(array: np.ndarray) -> np.ndarray:
    """The array itself if every NaN in it is 0x7fc00000, else a copy where that holds."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, ROWS_AT_ONCE):
        part = flat[start : start + ROWS_AT_ONCE]
        nans = np.isnan(part)
        if nans.any() and (part[nans].view(np.uint32) != 0x7FC00000).any():
            mended = np.array(array, copy=True)
            mended.view(np.uint32)[np.isnan(mended)] = 0x7FC00000
            return mended
    return array


def _advice(dtype: np.dtype) -> str:
    """What to pass instead, by the kind of dtype."""
    advice = {
        "f": "convert it with .astype(numpy.float32)",
        "c": "use real and imaginary parts",
        "U": "turn texts into numbers first, with a tokenizer or numpy.unique(texts, return_inverse=True)[1]",
        "O": "make one array of numbers of it: rows of the same length, padded if need be",
        "M": "turn times into numbers first, such as days since the first one",
        "V": "pass one array per field",
    }
    return advice.get({"S": "U", "m": "M"}.get(dtype.kind, dtype.kind), "use float32, integers or bool")
