"""Data in double precision, stored as binary32: rounded, unless that would change what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tallystick.errors import CaptureError

ROWS_AT_ONCE = 1 << 22  # elements, so that a memory-mapped array is never read whole
EXACT_INTEGERS = 2.0**53  # from here on every double is a whole number


def as_float32(name: str, values: object) -> tuple[object, str | None]:
    """An array or tensor of double precision as a float32 array, and what that cost, in words; others as they are.

    Raises: CaptureError naming the element for a number beyond float32, and for whole numbers that it cannot hold:
    those are numbers of things, and a neighbour is another thing.
    """
    if isinstance(values, torch.Tensor) and values.dtype is torch.float64 and not values.is_sparse:
        array = values.detach().cpu().numpy()
    elif isinstance(values, np.ndarray) and values.dtype.newbyteorder("=") == np.float64:
        array = values
    else:
        return values, None
    rounding = Rounding(name, array.shape)
    stored = np.empty(array.shape, np.float32)
    source, target = array.reshape(-1), stored.reshape(-1)
    for first in range(0, source.size, ROWS_AT_ONCE):
        part = source[first : first + ROWS_AT_ONCE].astype(np.float64, copy=False)
        with np.errstate(over="ignore", under="ignore"):
            target[first : first + ROWS_AT_ONCE] = part
        rounding.see(first, part, target[first : first + ROWS_AT_ONCE])
    return stored, rounding.told()


@dataclass
class Rounding:
    """What rounding an array has done so far."""

    name: str
    shape: tuple[int, ...]
    largest: float = 0.0
    at: int = 0
    whole: bool = True
    moved: tuple[int, float] | None = None  # the first whole number that became another, and what it was

    def see(self, first: int, exact: np.ndarray, rounded: np.ndarray) -> None:
        """Look at the elements from ``first`` on. Raises: CaptureError."""
        finite = np.isfinite(exact)
        beyond = finite & ~np.isfinite(rounded)
        if beyond.any():
            at = int(beyond.argmax())
            raise CaptureError(
                f"{self.place(first + at)} is {exact[at]}, beyond float32, which ends at 3.4e38: rescale the data"
            )
        differs = finite & (rounded != exact)
        self.whole = self.whole and bool((np.trunc(exact[finite]) == exact[finite]).all())
        if not differs.any():
            return
        integers = differs & (np.abs(exact) < EXACT_INTEGERS)
        if self.whole and self.moved is None and integers.any():
            at = int(integers.argmax())
            self.moved = first + at, float(exact[at])
        error = np.zeros_like(exact)
        np.divide(np.abs(rounded - exact), np.abs(exact), out=error, where=differs)
        at = int(error.argmax())
        if error[at] > self.largest:
            self.largest, self.at = float(error[at]), first + at

    def told(self) -> str | None:
        """What it cost, None if nothing. Raises: CaptureError for whole numbers that became others."""
        if self.whole and self.moved is not None:
            at, number = self.moved
            raise CaptureError(
                f"{self.place(at)} is the whole number {number:.0f}, which float32 cannot hold: it holds all up to "
                "16777216. If these are numbers of things, pass .astype(numpy.int64); if they are measured, rescale "
                "them, or round them with .astype(numpy.float32)"
            )
        if not self.largest:
            return None
        return (
            f"{self.name} is float64 and is stored as float32: the largest relative rounding is {self.largest:.1e}, of "
            f"{self.place(self.at)}"
        )

    def place(self, number: int) -> str:
        return f"{self.name}[{', '.join(str(int(i)) for i in np.unravel_index(number, self.shape))}]"
