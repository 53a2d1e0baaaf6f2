"""Faults in one value of a step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tallystick.commitment import bits_of
from tallystick.dispute.faults.another_computation import follow, needed_values
from tallystick.dispute.faults.scene import Scene, fault
from tallystick.dispute.lies import FaultyTrace
from tallystick.errors import UsageError
from tallystick.spec.kernels import Kernel
from tallystick.spec.tensors import DType

NAN_WITH_PAYLOAD = 0x7FC00001
EXPONENT, SIGN = 0x7F800000, 0x80000000


@fault("weight-ulp")
def weight_ulp(scene: Scene) -> list[FaultyTrace]:
    """One weight is off by one unit in the last place."""
    slot = scene.one(scene.floats(scene.written_slots("model.")), "float32 state")
    return [change_element(scene, slot, lambda bits: bits ^ 1)]


@fault("nan-payload")
def nan_payload(scene: Scene) -> list[FaultyTrace]:
    """A NaN that carries a payload is stored."""
    slot = scene.one(scene.floats(scene.written_slots("model.")), "float32 state")
    return [change_element(scene, slot, lambda bits: NAN_WITH_PAYLOAD)]


@fault("stale-moment")
def stale_moment(scene: Scene) -> list[FaultyTrace]:
    """One moment of the optimizer is claimed to be what it was before the step."""
    trace = FaultyTrace(scene.honest())
    values = scene.program.next_state
    slots = scene.written_slots("optimizer.")
    changed = [slot for slot in slots if trace.values[slot].tobytes() != trace.values[values[slot]].tobytes()]
    slot = scene.one(changed, "state that this step changes")
    trace.replace_value(values[slot], trace.values[slot])
    return [trace]


@fault("flushed-subnormal")
def flushed_subnormal(scene: Scene) -> list[FaultyTrace]:
    """A subnormal number is claimed to be zero, as it is where a processor flushes them."""
    trace = FaultyTrace(scene.honest())
    for value in range(scene.inputs, len(trace.types)):
        if trace.types[value].dtype is not DType.F32:
            continue
        bits = bits_of(trace.types[value], trace.values[value]).copy()
        subnormal = np.flatnonzero((bits & EXPONENT == 0) & (bits & ~np.uint32(SIGN) != 0))
        if subnormal.size:
            bits[subnormal] &= SIGN
            replace_bits(trace, value, bits)
            follow(trace, value)
            return [trace]
    raise UsageError(f"no value of step {scene.at} is subnormal: try another step")


@fault("fold-step")
def fold_step(scene: Scene) -> list[FaultyTrace]:
    """A sum goes wrong half way, by one unit in the last place in the end."""
    for value in needed_values(scene, is_sum):
        trace = FaultyTrace(scene.honest())
        before = scene.honest().end.root
        bits = bits_of(trace.types[value], trace.values[value]).copy()
        bits[scene.rng.randrange(len(bits))] ^= 1
        replace_bits(trace, value, bits)
        follow(trace, value)
        trace.lie_at = 0.5
        if trace.end.root != before:
            return [trace]
    raise UsageError("no sum of this program changes its state by so little")


def is_sum(kernel: Kernel) -> bool:
    """Whether a kernel folds to a binary32 number."""
    return kernel.fold is not None and not kernel.fold.scan and kernel.outputs[0] is DType.F32


def change_element(scene: Scene, slot: int, change: Callable[[int], int]) -> FaultyTrace:
    """The step with one element of what a slot gets changed."""
    trace = FaultyTrace(scene.honest())
    value = scene.program.next_state[slot]
    bits = bits_of(trace.types[value], trace.values[value]).copy()
    element = scene.rng.randrange(len(bits))
    bits[element] = change(int(bits[element]))
    replace_bits(trace, value, bits)
    return trace


def replace_bits(trace: FaultyTrace, value: int, bits: np.ndarray) -> None:
    """Claim other bits for a value."""
    array = trace.values[value]
    trace.replace_value(value, bits.view(array.dtype).reshape(array.shape))
