"""From two states that differ to a slot, an element, a step and a line of the user's code."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tallystick.commitment import bits_of
from tallystick.job.sources import Sources
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType


@dataclass(frozen=True)
class Difference:
    """The first element in which a claimed tensor differs from the true one, and how many do."""

    slot: int
    element: tuple[int, ...]
    claimed: int
    true: int
    elements: int


@dataclass(frozen=True)
class Origin:
    """What gives a slot its new value: a kernel, or (``kernel`` None) another slot or constant handed on."""

    kernel: int | None
    source: str | None
    words: str


def first_difference(slot: int, type: TensorType, claimed: np.ndarray, true: np.ndarray) -> Difference | None:
    """Compare one slot bit by bit."""
    claimed_bits, true_bits = bits_of(type, claimed), bits_of(type, true)
    wrong = np.flatnonzero(claimed_bits != true_bits)
    if not wrong.size:
        return None
    at = int(wrong[0])
    element = tuple(int(index) for index in np.unravel_index(at, type.shape))
    return Difference(slot, element, int(claimed_bits[at]), int(true_bits[at]), wrong.size)


def differences(program: Program, claimed: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> list[Difference]:
    """Every slot in which two states differ, in order."""
    slots = enumerate(zip(program.states, claimed, true, strict=True))
    found = (first_difference(slot, type, mine, theirs) for slot, (type, mine, theirs) in slots)
    return [difference for difference in found if difference is not None]


def origin_of(program: Program, slot: int, names: Sequence[str], sources: Sources | None) -> Origin:
    """Where the new value of a slot comes from; ``names`` are those of the state slots, then of the constants."""
    value = program.next_state[slot]
    if value < len(names):
        handed = "itself" if value == slot else names[value]
        return Origin(None, None, f"handed on from {handed}, by no kernel")
    first = len(names)
    for number, kernel in enumerate(program.kernels):
        if value < first + len(kernel.outputs):
            source = sources.kernels[number].source if sources is not None else None
            return Origin(number, source, f"written by kernel {number}" + (f" ({source})" if source else ""))
        first += len(kernel.outputs)
    raise AssertionError("the verifier has checked that every new state is a value")


def hexadecimal(dtype: DType, bits: int) -> str:
    """The bits of an element: 0x3f800000."""
    return f"0x{bits:0{2 * dtype.size}x}"


def readable(dtype: DType, bits: int) -> str:
    """The bits of an element and what they mean: 0x3f800000 (1.0)."""
    data = bits.to_bytes(dtype.size, "little")
    match dtype:
        case DType.F32:
            value: object = np.frombuffer(data, "<f4")[0]
        case DType.F16:
            value = np.frombuffer(data, "<f2")[0]
        case DType.BF16:
            value = struct.unpack("<f", b"\0\0" + data)[0]
        case DType.I32 | DType.I8:
            value = int.from_bytes(data, "little", signed=True)
        case DType.U8 | DType.BOOL:
            value = bits
    return f"{hexadecimal(dtype, bits)} ({value})"
