"""One program laid out in memory, ready to be run by a crew of threads."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence

import numpy as np

from tallystick.engine.arrays import NUMPY
from tallystick.engine.clock import ticks_pitch
from tallystick.engine.commands import CommandList, aligned
from tallystick.engine.crew import Crew
from tallystick.engine.dataflow import Dataflow
from tallystick.engine.driver import LINE, RUN_STEPS, Runtime
from tallystick.engine.generate import KernelCode
from tallystick.engine.machine_code import LoadedCode
from tallystick.engine.memory_plan import MemoryPlan
from tallystick.engine.schedule import Schedule
from tallystick.spec.tensors import TensorType

RUN = ctypes.CFUNCTYPE(
    ctypes.c_int64,
    ctypes.c_void_p,  # commands
    ctypes.c_int64,  # how many
    ctypes.c_int64,  # first step
    ctypes.c_int64,  # steps
    ctypes.c_int64,  # steps of this session before them
    ctypes.c_void_p,  # runtime
    ctypes.c_void_p,  # scratch
    ctypes.c_int64,  # this thread
)


class Machine:
    """Memory, commands and threads for one program. ``crew`` runs its steps."""

    def __init__(
        self,
        flow: Dataflow,
        code: KernelCode,
        loaded: LoadedCode,
        schedule: Schedule,
        plan: MemoryPlan,
        state: Sequence[np.ndarray],
        constants: Sequence[np.ndarray],
        step: int,
        copies: bool = True,
    ) -> None:
        """``copies``: whether a step ends by copying values into the slots that need it."""
        self.plan = plan
        self._loaded = loaded
        self._constants = list(constants)  # commands point into them
        self._memory = mmap.mmap(-1, plan.size + LINE)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._memory.madvise(mmap.MADV_HUGEPAGE)
        self._bytes = np.frombuffer(self._memory, np.uint8)
        self._base = aligned(self._bytes.ctypes.data)
        for slot, (array, type) in enumerate(zip(state, flow.program.states, strict=True)):
            self.view(plan.slots[slot][0], type)[...] = array
        addresses = [array.ctypes.data for array in constants]
        self._commands = CommandList(flow, code, schedule, plan, self._base, addresses, loaded.address, copies)
        self._runtime = self._make_runtime()
        self._run = RUN(loaded.address(RUN_STEPS))
        self.crew = Crew(len(plan.scratch), self._run_thread, self._stop, step)

    def view(self, offset: int, type: TensorType) -> np.ndarray:
        """The memory at an offset of the plan as an array."""
        start = offset + self._base - self._bytes.ctypes.data
        return self._bytes[start : start + type.nbytes].view(NUMPY[type.dtype]).reshape(type.shape)

    @property
    def commands(self) -> np.ndarray:
        """The list that threads walk (see `driver`)."""
        return self._commands.rows

    def keep_time(self, driver: LoadedCode) -> np.ndarray:
        """Walk the same list by a driver with a clock from now on; the table it keeps (see `clock`)."""
        self._driver = driver
        self._run = RUN(driver.address(RUN_STEPS))
        self._ticks = np.zeros((self._commands.threads, ticks_pitch(len(self.commands))), np.uint64)
        self._runtime[Runtime.TICKS : Runtime.TICKS + 8].view(np.uint64)[0] = self._ticks.ctypes.data
        return self._ticks

    def _make_runtime(self) -> np.ndarray:
        """The block that threads share, at the start of a cache line."""
        room = np.zeros(Runtime.SIZE + LINE, np.uint8)
        start = aligned(room.ctypes.data) - room.ctypes.data
        runtime = room[start : start + Runtime.SIZE]
        fields = {
            Runtime.YIELD: ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0,
            Runtime.THREADS: self._commands.threads,
        }
        for offset, number in fields.items():
            runtime[offset : offset + 8].view(np.uint64)[0] = number
        return runtime

    def _run_thread(self, thread: int, first_step: int, steps: int, before: int) -> int:
        rows = self._commands.rows
        scratch = self._base + self.plan.scratch[thread]
        runtime = self._runtime.ctypes.data
        return self._run(rows.ctypes.data, len(rows), first_step, steps, before, runtime, scratch, thread)

    def _stop(self, now: bool) -> None:
        self._runtime[Runtime.STOP : Runtime.STOP + 4].view(np.uint32)[0] = int(now)
