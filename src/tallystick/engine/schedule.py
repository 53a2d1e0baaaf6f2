"""Who does what when: kernels in stages, barriers only where data crosses threads.

Kernels that do not need each other share a stage. Between two barriers lies an *epoch*; a kernel too small to be worth
sharing runs on one thread, and a chain of such kernels on the same thread needs no barrier at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.engine.dataflow import Dataflow
from tallystick.engine.driver import COPY, COPY_CHUNK
from tallystick.engine.generate import KernelCode
from tallystick.engine.kernel_function import Phase

SMALL_NS = 4000.0  # work below this is not shared among threads
BACK = 1  # how many stages before the latest one a kernel may still join
COPY_NS = 0.1  # per byte


@dataclass(slots=True)
class Item:
    """One phase of a kernel, or (``kernel`` None) the copy of a value into a state slot at the end of a step."""

    phase: Phase
    kernel: int | None
    slot: int = 0
    thread: int | None = None  # None: all threads
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Items in order, and when each kernel runs.

    Time is what memory is planned by: what happens at one time may happen at once. With several threads it counts
    epochs; one thread does one item after the other.
    """

    items: list[Item]
    first_time: list[int]  # of each kernel
    last_time: list[int]
    end: int  # time of the copies that end a step
    epochs: int


def make_schedule(flow: Dataflow, code: KernelCode, threads: int) -> Schedule:
    """The order of a step's work for so many threads."""
    stages = _stages(flow, code)
    items = [item for stage in stages for item in stage]
    if threads == 1:
        for item in items:
            item.thread = 0
        times = list(range(len(items)))
    else:
        _Epochs(flow, threads).assign(stages)
        times = [item.epoch for item in items]
    kernels = len(flow.program.kernels)
    first, last = [len(items)] * kernels, [0] * kernels
    for item, time in zip(items, times, strict=True):
        if item.kernel is not None:
            first[item.kernel] = min(first[item.kernel], time)
            last[item.kernel] = max(last[item.kernel], time)
    return Schedule(items, first, last, max(times, default=0), max((item.epoch for item in items), default=0) + 1)


def waits_for(flow: Dataflow) -> list[set[int]]:
    """Kernels that must be done before each kernel: makers of what it reads, readers of what it writes over."""
    before = [{flow.maker[v] for v in values if v in flow.maker} for values in flow.reads]
    for slot, landing in enumerate(flow.landing):
        if landing.in_place:
            kernel = flow.maker[landing.value]
            before[kernel].update(reader for reader in flow.readers.get(slot, []) if reader != kernel)
    return before


def _stages(flow: Dataflow, code: KernelCode) -> list[list[Item]]:
    """Items by stage; those of one stage do not need each other. A kernel's phases take one stage each."""
    stages: list[list[Item]] = []
    done: list[int] = []  # stage of each kernel's last phase
    for kernel, before in enumerate(waits_for(flow)):
        stage = max((done[other] + 1 for other in before), default=0)
        stage = max(stage, len(stages) - 1 - BACK)
        for phase in code.of(kernel).phases:
            while len(stages) <= stage:
                stages.append([])
            stages[stage].append(Item(phase, kernel))
            stage += 1
        done.append(stage - 1)
    copies: list[Item] = []
    for slot, landing in enumerate(flow.landing):
        if landing.copied:
            size = flow.types[slot].nbytes
            phase = Phase(COPY, -(-size // COPY_CHUNK), size * COPY_NS)
            copies.append(Item(phase, None, slot))
    return [*stages, copies] if copies else stages


class _Epochs:
    """Assigns threads and epochs, stage by stage."""

    def __init__(self, flow: Dataflow, threads: int) -> None:
        self.flow = flow
        self.threads = threads
        self.before = waits_for(flow)
        self.epoch = 0
        self.loads = [0.0] * threads
        self.open: dict[int, list[Item]] = {}  # items of the current epoch by kernel

    def assign(self, stages: list[list[Item]]) -> None:
        for stage in stages:
            if any(self._needs_barrier(item) for item in stage):
                self.epoch += 1
                self.loads = [0.0] * self.threads
                self.open = {}
            bound = [(item, self._thread_of_makers(item)) for item in stage]
            for item, thread in bound:
                if thread is not None:
                    self._put(item, thread)
            free = [item for item, thread in bound if thread is None]
            for item in sorted(free, key=lambda item: -item.phase.cost):
                self._put(item, self.loads.index(min(self.loads)) if _is_small(item) else None)
            for item in stage:
                if item.kernel is not None:
                    self.open.setdefault(item.kernel, []).append(item)

    def _makers(self, item: Item) -> list[Item]:
        """Items of the current epoch that must be done before this one."""
        if item.kernel is None:  # copies come last and read what anybody made
            return [other for items in self.open.values() for other in items]
        kernels = self.before[item.kernel] | {item.kernel}
        return [other for kernel in kernels for other in self.open.get(kernel, [])]

    def _needs_barrier(self, item: Item) -> bool:
        threads = {maker.thread for maker in self._makers(item)}
        if not threads:
            return False
        return len(threads) > 1 or None in threads or not _is_small(item)

    def _thread_of_makers(self, item: Item) -> int | None:
        """The thread that a small item must follow, if any."""
        return next((maker.thread for maker in self._makers(item)), None)

    def _put(self, item: Item, thread: int | None) -> None:
        item.thread, item.epoch = thread, self.epoch
        if thread is not None:
            self.loads[thread] += item.phase.cost
        else:
            self.loads = [load + item.phase.cost / self.threads for load in self.loads]


def _is_small(item: Item) -> bool:
    return item.phase.tasks == 1 or item.phase.cost < SMALL_NS
