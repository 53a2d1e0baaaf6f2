"""What is known of a step before it runs: its inputs, and what they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.capture.inputs import Input

Range = tuple[int, int]
Naming = Callable[[Tensor], str | None]


@dataclass
class Surroundings:
    """What is known of a step before it runs.

    ``inputs``   of the step, in order; ``steady`` are names of those that may turn out to stay the same in every step
    ``ranges``   of integers that inputs hold, by name: from the first to the last of them
    ``within``   the same for inputs of which not all of these integers need occur
    ``steps``    how many there will be; None if nobody knows
    ``trains``   a parameter that is no input must not be used
    ``naming``   what a tensor that holds data is called by the user's code, if that is known
    ``own``      the tensors that inputs stand for, by name: what is done to them is not seen
    ``written_out``  what the tracer runs instead of some operators
    """

    inputs: Sequence[Input]
    steady: frozenset[str] = frozenset()
    ranges: Mapping[str, Range] = field(default_factory=dict)
    within: Mapping[str, Range] = field(default_factory=dict)
    steps: int | None = None
    trains: bool = False
    naming: Naming | None = None
    own: Mapping[str, Tensor] = field(default_factory=dict)
    written_out: Mapping[OpOverload, Callable[..., Any]] = field(default_factory=dict)


def value_of(made: Input) -> Callable[[], Tensor]:
    """What an input holds, as PyTorch sees it."""

    def value() -> Tensor:
        assert made.array is not None, "asked only of inputs with data"
        array = np.array(made.array) if not made.array.flags.writeable else made.array
        if made.dtype is torch.bfloat16:
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        if made.dtype.is_complex:  # stored as pairs
            return torch.view_as_complex(torch.from_numpy(array))
        return torch.from_numpy(array).to(made.dtype).reshape(made.shape)

    return value


def range_of(made: Input, ranges: Mapping[str, Range]) -> Callable[[], Range | None]:
    """The range of the integers that an input holds."""

    def found() -> Range | None:
        if made.name in ranges:
            return ranges[made.name]
        if (
            made.array is None
            or made.array.dtype.kind not in "iub"
            or made.dtype.is_floating_point
            or not made.array.size
        ):
            return None
        return int(made.array.min()), int(made.array.max())

    return found
