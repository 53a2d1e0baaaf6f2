"""Why a loss became NaN, as far as the state and the data tell, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tallystick.errors import JobError
from tallystick.job.manifest import RECORDS
from tallystick.job.model_file import PREFIX
from tallystick.spec.tensors import DType, TensorType

if TYPE_CHECKING:
    from tallystick.ir.captured import Captured

OnNan = Literal["stop", "record"]
DATA = "data."
AT_ONCE = 1 << 20  # elements looked at together: data may be mapped from disk and larger than memory
NOT_FINITE = {DType.F32: (np.uint32, 0x7F800000), DType.BF16: (np.uint16, 0x7F80), DType.F16: (np.uint16, 0x7C00)}


def check_on_nan(on_nan: Any) -> OnNan:
    """Raises: JobError unless it is one of the two."""
    if on_nan not in get_args(OnNan):
        raise JobError(
            f"on_nan={on_nan!r}: give 'stop', which ends the run at a loss that is NaN, or 'record', which writes it "
            "down and goes on as PyTorch does"
        )
    return on_nan


def nan_loss(captured: Captured, state: Sequence[np.ndarray], bad: int, step: int) -> str:
    """What to say about a loss that became NaN in step ``bad``, given the state after ``step`` steps."""
    program = captured.program
    slots = zip(captured.state_names, program.states, state, captured.state, strict=True)
    # What was infinite from the start, such as a mask, is none of the trouble.
    kept = [
        (name, type, array)
        for name, type, array, start in slots
        if not name.startswith(RECORDS) and not_finite(type, start) is None
    ]
    kept.sort(key=lambda slot: not slot[0].startswith(PREFIX))  # weights first: they are what people know
    moved = first_not_finite(kept)
    constants = zip(captured.constant_names, program.constants, captured.constants, strict=True)
    data = first_not_finite(constant for constant in constants if constant[0].startswith(DATA))
    said = f"the loss became NaN in step {bad}"
    if data is not None:
        said += f". The data are not finite: {data}. Mend or leave out such rows"
    if moved is not None:
        advice = "" if data is not None else ". Try a lower learning rate, a warm-up or clip_norm"
        return f"{said}. After step {step - 1} the weights are lost, too: {moved}{advice}"
    return (
        f"{said}, but all weights are finite after step {step - 1}: the loss of this batch is NaN and its gradient is "
        "not. That is so for a mean over nothing, 0/0, such as a batch in which every label is ignored. Go on as "
        "PyTorch does with on_nan='record' (tally run --on-nan record), or divide a sum by the count, at least 1: "
        "count.clamp(min=1)"
    )


def first_not_finite(slots: Iterable[tuple[str, TensorType, np.ndarray]]) -> str | None:
    """The first element that is NaN or infinite, in words."""
    for name, type, array in slots:
        found = not_finite(type, array)
        if found is not None:
            at = ", ".join(str(int(index)) for index in np.unravel_index(found[0], type.shape))
            return f"{name}[{at}] is {found[1]}"
    return None


def not_finite(type: TensorType, array: np.ndarray) -> tuple[int, str] | None:
    """Place and name of the first element without a finite value; None if all have one, or it holds no floats."""
    if type.dtype not in NOT_FINITE:
        return None
    word, exponent = NOT_FINITE[type.dtype]
    flat = array.reshape(-1)
    for first in range(0, flat.size, AT_ONCE):
        bits = np.ascontiguousarray(flat[first : first + AT_ONCE]).view(word)
        wrong = np.flatnonzero((bits & exponent) == exponent)
        if wrong.size:
            sign = "-" if int(bits[wrong[0]]) >> (8 * type.dtype.size - 1) else ""
            fraction = int(bits[wrong[0]]) & ((1 << (exponent.bit_length() - exponent.bit_count())) - 1)
            return first + int(wrong[0]), "NaN" if fraction else f"{sign}infinite"
    return None
