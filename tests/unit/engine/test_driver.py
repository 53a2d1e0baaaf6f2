"""The loop that threads run, with Python functions in the place of kernels: what is called when, and by whom."""

from __future__ import annotations

import ctypes
import threading
import time
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contraction_runs import PHASE, aligned
from tallystick.engine.commands import share_grains
from tallystick.engine.driver import COMMAND_WORDS, COPY, LINE, RUN_STEPS, Command, Runtime, driver_text
from tallystick.engine.machine import RUN
from tallystick.engine.machine_code import LoadedCode, compile_object
from tallystick.engine.target import Target


@cache
def driver() -> LoadedCode:
    target = Target.host()
    return LoadedCode(compile_object(driver_text(target), target), target)


@dataclass
class Calls:
    """A function of the driver's kind that writes down how it is called, and takes its time."""

    seconds: float = 0.0
    made: list[tuple[int, int, int, int]] = field(default_factory=list)  # operands, first task, end, step
    finished: list[int] = field(default_factory=list)  # operands

    def __post_init__(self) -> None:
        self.function = PHASE(self._call)
        self.address = ctypes.cast(self.function, ctypes.c_void_p).value or 0

    def _call(self, operands: int | None, lo: int, hi: int, step: int, shared: int | None, scratch: int | None) -> None:
        self.made.append((operands or 0, lo, hi, step))
        time.sleep(self.seconds)
        self.finished.append(operands or 0)


class Crowd:
    """Threads that walk a list of commands."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.runtime = aligned(Runtime.SIZE)
        self.runtime[:] = 0
        pause = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value
        self.runtime[Runtime.YIELD : Runtime.YIELD + 8].view(np.uint64)[0] = pause
        self.runtime[Runtime.THREADS : Runtime.THREADS + 8].view(np.uint64)[0] = threads
        self.counters = aligned(LINE * 256)
        self.counters[:] = 0
        self.used = 0
        self.rows: list[list[int]] = []

    def lines(self, count: int) -> int:
        self.used += count
        return self.counters.ctypes.data + (self.used - count) * LINE

    def row(self, kind: Command, calls: Calls | None = None, name: int = 0, **fields: int) -> None:
        order = ("grain", "tasks", "shared", "claims", "done")
        address = calls.address if calls is not None else 0
        self.rows.append([kind, address, name, name + 1, *(fields.get(key, 0) for key in order), 0])

    def epoch(self, calls: Calls, name: int, tasks: int, grain: int, chains: int = 0) -> None:
        """One shared kernel, and some chains of one call each."""
        done = self.lines(1)
        for number in range(chains):
            self.row(Command.CHAIN, grain=2, claims=self.lines(1))
            self.row(Command.CALL, calls, name + 10 * (number + 1), tasks=1)
            self.row(Command.CHAIN_END, done=done)
        total = sum(share_grains(tasks, grain, self.threads)) + chains
        self.row(Command.TOGETHER, calls, name, grain=grain, tasks=tasks, claims=self.lines(self.threads), done=done)
        self.row(Command.EPOCH, tasks=total, done=done)

    def run(self, steps: int, first_step: int = 0, before: int = 0) -> list[int]:
        table = np.array(self.rows, np.uint64).reshape(-1, COMMAND_WORDS)
        run_steps = RUN(driver().address(RUN_STEPS))
        results = [0] * self.threads

        def walk(me: int) -> None:
            runtime = self.runtime.ctypes.data
            results[me] = run_steps(table.ctypes.data, len(table), first_step, steps, before, runtime, None, me)

        threads = [threading.Thread(target=walk, args=(me,)) for me in range(self.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


@given(
    threads=st.integers(1, 5),
    epochs=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=4),
    steps=st.integers(0, 3),
)
def test_every_task_is_done_once_and_epochs_do_not_overlap(
    threads: int, epochs: list[tuple[int, int, int]], steps: int
):
    crowd, calls = Crowd(threads), Calls()
    for number, (tasks, grain, chains) in enumerate(epochs):
        crowd.epoch(calls, 100 * (number + 1), tasks, grain, chains)
    assert crowd.run(steps, first_step=5) == [steps] * threads
    assert all(lo < hi for _, lo, hi, _ in calls.made), "no call for nothing"
    expected = []
    for turn in range(steps):
        for number, (tasks, _, chains) in enumerate(epochs):
            name = 100 * (number + 1) + turn % 2
            done = sorted((name, task, 5 + turn) for task in range(tasks))
            expected.append(done + sorted((name + 10 * (chain + 1), 0, 5 + turn) for chain in range(chains)))
    seen = [(name, task, step) for name, lo, hi, step in calls.made for task in range(lo, hi)]
    at = 0
    for wanted in expected:
        assert sorted(seen[at : at + len(wanted)]) == sorted(wanted)
        at += len(wanted)
    assert at == len(seen)


def test_an_epoch_waits_for_the_slowest():
    """Two tasks, four threads: the next epoch begins when both are done, whoever had nothing to do."""
    crowd, slow, quick = Crowd(4), Calls(0.05), Calls()
    crowd.epoch(slow, 100, tasks=2, grain=1)
    finished_before: list[int] = []
    original = quick._call

    def after(*args) -> None:
        finished_before.append(len(slow.finished))
        original(*args)

    quick.function = PHASE(after)
    quick.address = ctypes.cast(quick.function, ctypes.c_void_p).value or 0
    crowd.epoch(quick, 200, tasks=1, grain=1)
    crowd.run(3)
    assert finished_before == [2, 4, 6]


def test_a_thread_that_never_comes_holds_nobody_up():
    """Three threads are announced, and only one walks the list: it does everything."""
    crowd, calls = Crowd(3), Calls()
    for name in (100, 200):
        crowd.epoch(calls, name, tasks=7, grain=1, chains=2)
    table = np.array(crowd.rows, np.uint64).reshape(-1, COMMAND_WORDS)
    run_steps = RUN(driver().address(RUN_STEPS))
    assert run_steps(table.ctypes.data, len(table), 0, 4, 0, crowd.runtime.ctypes.data, None, 1) == 4
    assert len(calls.made) == 4 * 2 * 9
    late = run_steps(table.ctypes.data, len(table), 0, 4, 0, crowd.runtime.ctypes.data, None, 0)
    assert late == 4 and len(calls.made) == 4 * 2 * 9, "who comes late finds it all done"


@pytest.mark.parametrize("threads", [1, 3])
def test_a_request_to_stop_ends_all_threads_after_the_same_step(threads: int):
    crowd, calls = Crowd(threads), Calls()
    stopper = Calls()
    original = stopper._call

    def stop_in_step_three(operands, lo, hi, step, shared, scratch) -> None:
        if step == 3:
            crowd.runtime[Runtime.STOP : Runtime.STOP + 4].view(np.uint32)[0] = 1
        original(operands, lo, hi, step, shared, scratch)

    stopper.function = PHASE(stop_in_step_three)
    stopper.address = ctypes.cast(stopper.function, ctypes.c_void_p).value or 0
    crowd.epoch(stopper, 100, tasks=1, grain=1)
    done = crowd.lines(1)
    crowd.row(Command.CHAIN, grain=2, claims=crowd.lines(1))
    crowd.row(Command.DECIDE)
    crowd.row(Command.CHAIN_END, done=done)
    crowd.row(Command.EPOCH, tasks=1, done=done)
    crowd.epoch(calls, 200, tasks=5, grain=2)
    assert crowd.run(100) == [4] * threads
    crowd.runtime[Runtime.STOP : Runtime.STOP + 4].view(np.uint32)[0] = 0
    assert crowd.run(2, first_step=4, before=4) == [2] * threads
    assert {step for *_, step in calls.made} == set(range(6))


def test_copies():
    """Whole lines and the bytes after them, and nothing beyond."""
    copy = PHASE(driver().address(COPY))
    for size in (0, 1, 63, 64, 65, 1000, (1 << 16) - 1, (1 << 16) + 5):
        source = np.random.default_rng(size).integers(0, 256, size + 1, np.uint8)
        target = np.zeros(size + 1, np.uint8)
        table = np.array([source.ctypes.data, target.ctypes.data, size], np.uint64)
        for task in reversed(range(-(-size // (1 << 16)))):
            copy(table.ctypes.data, task, task + 1, 0, None, None)
        assert (target[:size] == source[:size]).all() and target[size] == 0
