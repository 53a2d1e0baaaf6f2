"""Faults in the state after a step, and in how values are committed to."""

from __future__ import annotations

import numpy as np

from tallystick.commitment import bits_of
from tallystick.dispute.faults.scene import Scene, fault
from tallystick.dispute.lies import FaultyTrace
from tallystick.dispute.tensors import CommittedTensor
from tallystick.errors import UsageError
from tallystick.spec.digests import CHUNK, chunk_count
from tallystick.spec.limits import AXES
from tallystick.spec.tensors import TensorType


@fault("skipped-step")
def skipped_step(scene: Scene) -> list[FaultyTrace]:
    """The state after the step is the state before it."""
    trace = FaultyTrace(scene.honest())
    trace.new_state = list(trace.state)
    return [trace]


@fault("zero-state")
def zero_state(scene: Scene) -> list[FaultyTrace]:
    """The state after the step is all zeros."""
    trace = FaultyTrace(scene.honest())
    trace.new_state = [np.zeros_like(array) for array in trace.new_state]
    return [trace]


@fault("slots-swapped")
def slots_swapped(scene: Scene) -> list[FaultyTrace]:
    """Two slots of the same type have each other's content."""
    trace = FaultyTrace(scene.honest())
    slots = scene.written_slots("")
    for one in slots:
        for other in slots:
            same = scene.program.states[one] == scene.program.states[other]
            if one < other and same and trace.new_state[one].tobytes() != trace.new_state[other].tobytes():
                trace.new_state[one], trace.new_state[other] = trace.new_state[other], trace.new_state[one]
                return [trace]
    raise UsageError("no two slots of this program have the same type and different content")


@fault("wrong-dims")
def wrong_dims(scene: Scene) -> list[FaultyTrace]:
    """The right bytes are committed to with other dimensions."""
    trace, value = committed_value(scene)
    type = trace.types[value]
    other = TensorType(type.dtype, (*type.shape, 1) if len(type.shape) < AXES else (type.elements,))
    trace.commit(value, CommittedTensor.of(other, trace.values[value], trace.hasher))
    return [trace]


@fault("wrong-tail-chunk")
def wrong_tail_chunk(scene: Scene) -> list[FaultyTrace]:
    """The last chunk of a tensor is committed to without its last element."""
    trace, value = committed_value(scene)
    type = trace.types[value]
    data = bits_of(type, trace.values[value]).tobytes()[: -type.dtype.size]
    trace.commit(value, CommittedTensor(type, data, trace.hasher))
    return [trace]


@fault("past-the-end")
def past_the_end(scene: Scene) -> list[FaultyTrace]:
    """A tensor is committed to with values past its end."""
    trace, value = committed_value(scene)
    type = trace.types[value]
    data = bits_of(type, trace.values[value]).tobytes()
    whole = -(-len(data) // CHUNK) * CHUNK
    trace.commit(value, CommittedTensor(type, data.ljust(whole, b"\0") + b"\1" * CHUNK, trace.hasher))
    return [trace]


def committed_value(scene: Scene) -> tuple[FaultyTrace, int]:
    """A value that goes into a slot; a large one, with room in its tree for chunks that do not exist."""
    trace = FaultyTrace(scene.honest())
    slots = scene.written_slots("model.")
    slot = max(slots, key=lambda slot: room(scene.program.states[slot]), default=None)
    return trace, scene.program.next_state[scene.one([] if slot is None else [slot], "state that a kernel writes")]


def room(type: TensorType) -> tuple[bool, int]:
    """Whether a tensor's tree has padding, and how large the tensor is."""
    count = chunk_count(type.nbytes)
    return count & (count - 1) != 0, type.nbytes
