"""Who does what when: kernels in stages, waiting only where data crosses threads.

Kernels that do not need each other share a stage. What may run at once forms an *epoch*; the next one begins when all
of it is done. A kernel too small to be worth sharing is done whole by one thread, and kernels of that kind that follow
from each other form a *chain*, which one thread takes and which needs no waiting in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.engine.dataflow import Dataflow
from tallystick.engine.driver import COPY, COPY_CHUNK
from tallystick.engine.generate import KernelCode
from tallystick.engine.kernel_function import Phase

SMALL_NS = 4000.0  # work below this is not shared among threads
MERGED_NS = 16000.0  # chains that take less than this together are joined rather than waited for
BACK = 1  # how many stages before the latest one a kernel may still join
COPY_NS = 0.1  # per byte


@dataclass(slots=True)
class Item:
    """One phase of a kernel, or (``kernel`` None) the copy of a value into a state slot at the end of a step."""

    phase: Phase
    kernel: int | None
    slot: int = 0
    epoch: int = 0
    chain: int | None = None  # number of its chain within the epoch; None: shared by all threads


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
            item.chain = 0
        times = list(range(len(items)))
    else:
        _Epochs(flow).assign(stages)
        times = [item.epoch for item in items]
    kernels = len(flow.program.kernels)
    first, last = [len(items)] * kernels, [0] * kernels
    for item, time in zip(items, times, strict=True):
        if item.kernel is not None:
            first[item.kernel] = min(first[item.kernel], time)
            last[item.kernel] = max(last[item.kernel], time)
    for group in flow.groups:
        for kernel in group.kernels:
            first[kernel], last[kernel] = first[group.head], last[group.head]
    return Schedule(items, first, last, max(times, default=0), max((item.epoch for item in items), default=0) + 1)


def _stages(flow: Dataflow, code: KernelCode) -> list[list[Item]]:
    """Items by stage; those of one stage do not need each other. A kernel's phases take one stage each."""
    stages: list[list[Item]] = []
    done: dict[int, int] = {}  # stage of each kernel's last phase
    for kernel in flow.order:
        stage = max((done[other] + 1 for other in flow.waits_for[kernel]), default=0)
        stage = max(stage, len(stages) - 1 - BACK)
        for phase in code.of(kernel).phases:
            while len(stages) <= stage:
                stages.append([])
            stages[stage].append(Item(phase, kernel))
            stage += 1
        done[kernel] = stage - 1
    copies: list[Item] = []
    for slot, landing in enumerate(flow.landing):
        if landing.copied:
            size = flow.types[slot].nbytes
            phase = Phase(COPY, -(-size // COPY_CHUNK), size * COPY_NS)
            copies.append(Item(phase, None, slot))
    return [*stages, copies] if copies else stages


class _Epochs:
    """Assigns epochs and chains, stage by stage."""

    def __init__(self, flow: Dataflow) -> None:
        self.before = flow.waits_for
        self.epoch = 0
        self.chains: list[list[Item]] = []  # of the current epoch; empty where merged into another
        self.shared: set[int] = set()  # kernels of the current epoch that all threads share

    def assign(self, stages: list[list[Item]]) -> None:
        for stage in stages:
            if not all(self._may_follow(item, self._makers(item)) for item in stage):
                self.epoch += 1
                self.chains, self.shared = [], set()
            for item in stage:
                self._put(item)

    def _makers(self, item: Item) -> set[int | None]:
        """Chains of the current epoch that must be done before an item; None among them for what threads share."""
        if item.kernel is None:  # copies come last and read what anybody made
            made: set[int | None] = {number for number, chain in enumerate(self.chains) if chain}
            return made | ({None} if self.shared else set())
        kernels = self.before[item.kernel] | {item.kernel}
        made = {number for number, chain in enumerate(self.chains) if any(other.kernel in kernels for other in chain)}
        return made | ({None} if kernels & self.shared else set())

    def _may_follow(self, item: Item, makers: set[int | None]) -> bool:
        """Whether an item can run in the epoch of its makers: after them, on the same thread."""
        if not makers:
            return True
        if None in makers or not _is_small(item):
            return False
        work = sum(other.phase.cost for number in makers if number is not None for other in self.chains[number])
        return len(makers) == 1 or work < MERGED_NS

    def _put(self, item: Item) -> None:
        item.epoch = self.epoch
        if not _is_small(item):
            if item.kernel is not None:
                self.shared.add(item.kernel)
            return
        numbers = sorted(number for number in self._makers(item) if number is not None)
        if not numbers:
            numbers = [len(self.chains)]
            self.chains.append([])
        home = self.chains[numbers[0]]
        for number in numbers[1:]:
            home += self.chains[number]
            self.chains[number] = []
        home.append(item)
        for other in home:
            other.chain = numbers[0]


def _is_small(item: Item) -> bool:
    return item.phase.tasks == 1 or item.phase.cost < SMALL_NS
