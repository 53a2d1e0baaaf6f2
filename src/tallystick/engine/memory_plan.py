"""Where every value lives: known before anything runs, buffers reused as soon as nobody needs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tallystick.engine.dataflow import Dataflow, may_overwrite
from tallystick.engine.generate import KernelCode
from tallystick.engine.placement import Buffer, padded, place
from tallystick.engine.schedule import Schedule


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets into one block of memory.

    ``even`` and ``odd``  offset of every value that is not a constant, by value number, in even and in odd steps
    ``slots``             offset of every state slot's buffer before an even and before an odd step
    ``shared``            offset of each kernel's shared memory (0 where it has none)
    ``scratch``           offset of each thread's scratch memory
    ``size``              bytes of the block
    """

    even: dict[int, int]
    odd: dict[int, int]
    slots: list[tuple[int, int]]
    shared: list[int]
    scratch: list[int]
    size: int
    state_bytes: int
    arena_bytes: int

    @cached_property
    def alternates(self) -> bool:
        """Whether even and odd steps differ."""
        return self.even != self.odd


def make_plan(flow: Dataflow, code: KernelCode, schedule: Schedule, threads: int, keep_all: bool = False) -> MemoryPlan:
    """The plan for a run; with ``keep_all`` for one step after which every value can be looked at."""
    at = 0
    slots: list[tuple[int, int]] = []
    for slot, landing in enumerate(flow.landing):
        first = second = at
        at += padded(flow.types[slot].nbytes)
        if landing.alternates and not keep_all:
            second = at
            at += padded(flow.types[slot].nbytes)
        slots.append((first, second))
    state_bytes = at
    even = {slot: first for slot, (first, _) in enumerate(slots)}
    odd = {slot: second for slot, (_, second) in enumerate(slots)}
    if not keep_all:
        for slot, landing in enumerate(flow.landing):
            if not landing.kept and not landing.copied:
                even[landing.value], odd[landing.value] = slots[slot][1], slots[slot][0]
    buffers, shared = _arena_buffers(flow, code, schedule, fixed=frozenset(even), keep_all=keep_all)
    arena = place(list({id(buffer): buffer for buffer in [*buffers.values(), *shared.values()]}.values()))
    for value, buffer in buffers.items():
        even[value] = odd[value] = at + buffer.offset
    shared_offsets = [at + shared[kernel].offset if kernel in shared else 0 for kernel in range(len(code.function_of))]
    at += arena
    scratch: list[int] = []
    for _ in range(threads):
        scratch.append(at)
        at += padded(max((function.scratch_bytes for function in code.functions), default=0))
    return MemoryPlan(even, odd, slots, shared_offsets, scratch, at, state_bytes, arena)


def _arena_buffers(
    flow: Dataflow, code: KernelCode, schedule: Schedule, fixed: frozenset[int], keep_all: bool
) -> tuple[dict[int, Buffer], dict[int, Buffer]]:
    """Buffers of values that have no fixed place, and of kernels' shared memory."""
    copied = {landing.value for landing in flow.landing if landing.copied}
    buffers: dict[int, Buffer] = {}
    shared: dict[int, Buffer] = {}
    for kernel in sorted(range(len(flow.outputs)), key=lambda number: schedule.first_time[number]):
        first = schedule.first_time[kernel]
        for value in flow.outputs[kernel]:
            if value in fixed or value in flow.inner:
                continue
            last = max([schedule.last_time[kernel], *(schedule.last_time[r] for r in flow.readers.get(value, []))])
            last = schedule.end if keep_all or value in copied else last
            dying = None if keep_all else _dying_input(flow, kernel, value, buffers, schedule)
            if dying is not None:
                dying.last = last
                buffers[value] = dying
            else:
                buffers[value] = Buffer(padded(flow.types[value].nbytes), first, last)
        if flow.head(kernel) == kernel and code.of(kernel).shared_bytes:
            size = padded(code.of(kernel).shared_bytes)
            shared[kernel] = Buffer(size, first, schedule.last_time[kernel])
    return buffers, shared


def _dying_input(
    flow: Dataflow, kernel: int, output: int, buffers: dict[int, Buffer], schedule: Schedule
) -> Buffer | None:
    """The buffer of an input that the kernel may write over because it is the last to need it."""
    if kernel in flow.group_of:
        return None
    now = schedule.first_time[kernel]
    taken = [buffers[value] for value in flow.outputs[kernel] if value in buffers]
    for value in sorted(flow.reads[kernel] & buffers.keys()):
        buffer = buffers[value]
        needed = any(schedule.last_time[other] >= now for other in flow.readers[value] if other != kernel)
        if needed or buffer.last != now or any(buffer is other for other in taken):
            continue
        if may_overwrite(flow.program.kernels[kernel], output - flow.outputs[kernel].start, value, flow.types):
            return buffer
    return None
