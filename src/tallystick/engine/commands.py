"""The list of commands that threads walk, and the tables of pointers that kernels are called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from tallystick.engine.dataflow import Dataflow
from tallystick.engine.driver import COMMAND_WORDS, LINE, Command
from tallystick.engine.generate import KernelCode
from tallystick.engine.memory_plan import MemoryPlan
from tallystick.engine.schedule import Item, Schedule

GRAINS = 8  # pieces a thread's share of tasks is cut into

Addresses = Mapping[int, int]


class CommandList:
    """Commands as ``rows`` of 64-bit words (see `driver`), valid as long as this object lives."""

    def __init__(
        self,
        flow: Dataflow,
        code: KernelCode,
        schedule: Schedule,
        plan: MemoryPlan,
        base: int,
        constants: Sequence[int],
        function_address: Callable[[str], int],
        copies: bool = True,
    ) -> None:
        """``base`` is where the plan's block lies, ``constants`` are addresses of the constants."""
        self._flow, self._code, self._plan, self._base = flow, code, plan, base
        self._function_address = function_address
        self.threads = len(plan.scratch)
        self._alive: list[np.ndarray] = []
        given = {flow.states + number: address for number, address in enumerate(constants)}
        self._even = given | {value: base + offset for value, offset in plan.even.items()}
        self._odd = given | {value: base + offset for value, offset in plan.odd.items()}
        self._tables: dict[object, tuple[int, int]] = {}
        items = [item for item in schedule.items if copies or item.kernel is not None]
        lines = len(items) * (self.threads + 1) + schedule.epochs + 1
        self._counters = np.zeros(lines * LINE + LINE, np.uint8)
        self._next_line = aligned(self._counters.ctypes.data)
        rows = self._alone(items) if self.threads == 1 else self._shared(items, schedule.epochs)
        self.rows = np.array(rows, np.uint64).reshape(-1, COMMAND_WORDS)

    def _alone(self, items: Sequence[Item]) -> list[list[int]]:
        """The list of a single thread."""
        return [*(self._row(Command.CALL, item) for item in items), self._control(Command.DECIDE)]

    def _shared(self, items: Sequence[Item], epochs: int) -> list[list[int]]:
        """The list of several threads: epoch by epoch, chains before what all share, so that nobody waits for them."""
        rows: list[list[int]] = []
        for epoch in range(epochs):
            here = [item for item in items if item.epoch == epoch]
            done = self._lines(1)
            chains: dict[int, list[list[int]]] = {}
            for item in here:
                if item.chain is not None:
                    chains.setdefault(item.chain, []).append(self._row(Command.CALL, item))
            if epoch == epochs - 1:
                chains[-1] = [self._control(Command.DECIDE)]
            for chain in chains.values():
                end = self._control(Command.CHAIN_END, done=done)
                rows += [self._control(Command.CHAIN, skip=len(chain) + 1, claims=self._lines(1)), *chain, end]
            total = len(chains)
            for item in here:
                if item.chain is None:
                    grain = max(item.phase.tasks // (self.threads * GRAINS), 1)
                    rows.append(self._row(Command.TOGETHER, item, grain, self._lines(self.threads), done))
                    total += sum(share_grains(item.phase.tasks, grain, self.threads))
            rows.append(self._control(Command.EPOCH, total=total, done=done))
        return rows

    def _lines(self, count: int) -> int:
        """The address of so many counters, each with a cache line of its own."""
        address = self._next_line
        self._next_line += count * LINE
        return address

    def _control(self, kind: Command, skip: int = 0, total: int = 0, claims: int = 0, done: int = 0) -> list[int]:
        return [kind, 0, 0, 0, skip, total, 0, claims, done, 0]

    def _row(self, kind: Command, item: Item, grain: int = 0, claims: int = 0, done: int = 0) -> list[int]:
        even, odd = self._operands(item)
        shared = 0 if item.kernel is None else self._base + self._plan.shared[item.kernel]
        address = self._function_address(item.phase.function)
        kernel = 0 if item.kernel is None else item.kernel + 1
        return [kind, address, even, odd, grain, item.phase.tasks, shared, claims, done, kernel]

    def _operands(self, item: Item) -> tuple[int, int]:
        """The addresses of an item's operand tables in even and odd steps."""
        key = ("kernel", item.kernel) if item.kernel is not None else ("slot", item.slot)
        if key not in self._tables:
            if item.kernel is not None:
                even, odd = (self._kernel_table(item.kernel, values) for values in (self._even, self._odd))
            else:
                even, odd = (self._copy_table(item.slot, parity) for parity in (0, 1))
            self._tables[key] = (self._keep(even), self._keep(odd))
        return self._tables[key]

    def _kernel_table(self, number: int, values: Addresses) -> list[int]:
        if number in self._flow.group_of:
            return [values[value] for value in self._flow.group_of[number].operands]
        kernel = self._flow.program.kernels[number]
        table = [values[view.value] for view in kernel.loads] + [values[value] for value in self._flow.outputs[number]]
        if kernel.scatter is not None and kernel.scatter.base is not None:
            table.append(values[kernel.scatter.base])
        return table

    def _copy_table(self, slot: int, parity: int) -> list[int]:
        values = self._odd if parity else self._even
        source = values[self._flow.landing[slot].value]
        return [source, self._base + self._plan.slots[slot][1 - parity], self._flow.types[slot].nbytes]

    def _keep(self, table: list[int]) -> int:
        array = np.array(table, np.uint64)
        self._alive.append(array)
        return array.ctypes.data


def share_grains(tasks: int, grain: int, threads: int) -> list[int]:
    """How many claims each thread's share of some tasks makes."""
    cuts = [tasks * thread // threads for thread in range(threads + 1)]
    return [-(-(end - begin) // grain) for begin, end in pairwise(cuts)]


def aligned(address: int) -> int:
    """The first address from one on that starts a cache line."""
    return -(-address // LINE) * LINE
