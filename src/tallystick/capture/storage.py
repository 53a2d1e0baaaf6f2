"""How weights are stored: narrow types for memory, arithmetic in binary32. No PyTorch is needed to describe it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from tallystick.errors import CaptureError

Narrow = Literal["bf16", "f16"]
Frozen = Literal["bf16", "f16", "int8"]
Rounding = Literal["nearest", "stochastic"]


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Which tensors of a training job are stored narrow. The model always sees their values as float32.

    ``trained``   "bf16" or "f16": a trained parameter is rounded to it at the start and after every update
    ``frozen``    "bf16", "f16" or "int8": frozen parameters. With "int8" a tensor of two or more dimensions is stored
                  as integers from -127 to 127 with one float32 scale per row (dimension 0); others stay float32
    ``moments``   "bf16" or "f16": what the optimizer keeps, rounded after every update
    ``master``    keep a float32 copy of every trained parameter, which updates are added to
    ``rounding``  "nearest" (ties to even), or "stochastic": up or down at random, so that the mean is right. For
                  "bf16" only; of what is stored after an update

    None leaves float32. Gradients, their sums and averages of weights are float32.
    """

    trained: Narrow | None = None
    frozen: Frozen | None = None
    moments: Narrow | None = None
    master: bool = False
    rounding: Rounding = "nearest"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("trained", self.trained, get_args(Narrow)),
            ("frozen", self.frozen, get_args(Frozen)),
            ("moments", self.moments, get_args(Narrow)),
        ):
            if value is not None and value not in known:
                raise CaptureError(f"storage {name}={value!r}: use None (float32) or one of {', '.join(known)}")
        if self.rounding not in get_args(Rounding):
            raise CaptureError(f"storage rounding={self.rounding!r}: use nearest or stochastic")
        if self.master and self.trained is None:
            raise CaptureError("a master copy belongs to parameters that are stored narrow: give trained='bf16', too")
        if self.rounding == "stochastic" and (self.trained is None or self.master) and self.moments is None:
            raise CaptureError("nothing is rounded stochastically: give trained='bf16' without master, or moments")
        if self.rounding == "stochastic" and "f16" in (self.trained, self.moments):
            raise CaptureError("stochastic rounding is for bf16; with f16 use rounding='nearest'")
