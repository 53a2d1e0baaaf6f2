"""Arrays given to the engine: do they fit their slots, and may their words enter a program?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick.errors import IntegrityError, ResourceError, UsageError
from tallystick.spec.float32 import NAN
from tallystick.spec.tensors import DType, TensorType

NUMPY: dict[DType, np.dtype] = {
    DType.F32: np.dtype("<f4"),
    DType.I32: np.dtype("<i4"),
    DType.U8: np.dtype("u1"),
    DType.I8: np.dtype("i1"),
    DType.BOOL: np.dtype("?"),
    DType.BF16: np.dtype("<u2"),
    DType.F16: np.dtype("<f2"),
}
"""How numpy holds each storage type; bf16, which numpy does not have, is held as its bits."""

_NANS = {DType.F32: (0x7F800000, NAN), DType.BF16: (0x7F80, 0x7FC0), DType.F16: (0x7C00, 0x7E00)}
"""Infinity, beyond which all patterns are NaNs, and the one NaN that is stored."""

_AT_ONCE = 1 << 22  # elements looked at together


def check_arrays(kind: str, arrays: Sequence[np.ndarray], types: Sequence[TensorType]) -> None:
    """Raise UsageError unless every array is what its slot holds, IntegrityError if a NaN is not the canonical one.

    ``kind`` names the slots in messages: "state" or "constant".
    """
    if len(arrays) != len(types):
        raise UsageError(f"the program has {len(types)} {kind} slots, but {len(arrays)} arrays were given")
    for slot, (array, type) in enumerate(zip(arrays, types, strict=True)):
        name = f"{kind} {slot}"
        if not isinstance(array, np.ndarray):
            raise UsageError(f"{name} is a {array.__class__.__name__}; give a numpy array")
        if array.dtype != NUMPY[type.dtype] or array.shape != type.shape:
            wanted = f"{NUMPY[type.dtype].name}{list(type.shape)}"
            raise UsageError(f"{name} is {array.dtype.name}{list(array.shape)}, but its slot holds {wanted}")
        if not array.flags.c_contiguous or not array.flags.aligned:
            raise UsageError(f"{name} is not dense in row-major order; pass numpy.ascontiguousarray(...) of it")
        check_words(name, array, type.dtype)


def check_words(name: str, array: np.ndarray, dtype: DType) -> None:
    """Raise IntegrityError if an array holds a word that no program may store: another NaN, another truth value."""
    if dtype not in _NANS and dtype != DType.BOOL:
        return
    flat = array.reshape(-1).view(f"<u{dtype.size}")
    for start in range(0, flat.size, _AT_ONCE):
        bits = flat[start : start + _AT_ONCE]
        if dtype in _NANS:
            infinity, nan = _NANS[dtype]
            wrong = (bits & (1 << 8 * dtype.size - 1) - 1 > infinity) & (bits != nan)
            problem = f"a NaN other than {nan:#x}; replace it by that one"
        else:
            wrong = bits > 1
            problem = "a truth value that is neither 0 nor 1"
        if wrong.any():
            where = np.unravel_index(start + int(wrong.argmax()), array.shape)
            raise IntegrityError(f"{name} holds {problem} (element {[int(index) for index in where]})")


def available_memory() -> int | None:
    """Bytes that can still be allocated without swapping, where the system tells."""
    limits: list[int] = []
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("MemAvailable:"):
                    limits.append(int(line.split()[1]) * 1024)
    except OSError:
        return None
    limits += _control_group_limit()
    return min(limits, default=None)


def _control_group_limit() -> list[int]:
    """What the control group still allows, if it sets a limit."""
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:  # noqa: PTH123
            limit = file.read().strip()
        with open("/sys/fs/cgroup/memory.current", encoding="ascii") as file:  # noqa: PTH123
            used = int(file.read())
    except (OSError, ValueError):
        return []
    return [int(limit) - used] if limit.isdigit() else []


def require_memory(need: int, what: str) -> None:
    """Raise ResourceError if so many bytes are not available."""
    have = available_memory()
    if have is not None and need > have:
        raise ResourceError(
            f"{what} needs {need / 1e9:.2f} GB of memory and {have / 1e9:.2f} GB are available; "
            "use a smaller batch or model, or a machine with more memory"
        )
