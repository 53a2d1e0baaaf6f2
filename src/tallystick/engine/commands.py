"""The lists of commands that threads walk, and the tables of pointers that kernels are called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tallystick.engine.dataflow import Dataflow
from tallystick.engine.driver import COMMAND_WORDS, LINE, Command
from tallystick.engine.generate import KernelCode
from tallystick.engine.memory_plan import MemoryPlan
from tallystick.engine.schedule import Item, Schedule

GRAINS = 8  # pieces a thread's share of tasks is cut into

Addresses = Mapping[int, int]


class CommandLists:
    """Commands for every thread, as arrays of 64-bit words (see `driver`). They live as long as this object."""

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
        self.counter_sets = sum(item.thread is None for item in items)
        self._counters = np.zeros(2 * self.counter_sets * self.threads * LINE + LINE, np.uint8)
        self.counters = aligned(self._counters.ctypes.data)
        self.lists = self._lists(items, schedule.epochs)

    def _lists(self, items: Sequence[Item], epochs: int) -> list[np.ndarray]:
        rows: list[list[list[int]]] = [[] for _ in range(self.threads)]
        used = 0
        for epoch in range(epochs):
            if epoch:
                for thread_rows in rows:
                    thread_rows.append([Command.BARRIER] + [0] * (COMMAND_WORDS - 1))
            here = [item for item in items if item.epoch == epoch]
            for item in here:
                if item.thread is not None:
                    rows[item.thread].append(self._row(Command.ALONE, item, 0, 0))
            # What is shared comes after what is not, so that a thread kept busy by the latter is helped out.
            for item in here:
                if item.thread is None:
                    grain = max(item.phase.tasks // (self.threads * GRAINS), 1)
                    row = self._row(Command.TOGETHER, item, grain, self.counters + 2 * used * self.threads * LINE)
                    used += 1
                    for thread_rows in rows:
                        thread_rows.append(row)
        return [np.array(thread_rows, np.uint64).reshape(-1, COMMAND_WORDS) for thread_rows in rows]

    def _row(self, kind: Command, item: Item, first: int, counters: int) -> list[int]:
        even, odd = self._operands(item)
        shared = 0 if item.kernel is None else self._base + self._plan.shared[item.kernel]
        address = self._function_address(item.phase.function)
        return [kind, address, even, odd, first, item.phase.tasks, shared, counters]

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


def aligned(address: int) -> int:
    """The first address from one on that starts a cache line."""
    return -(-address // LINE) * LINE
