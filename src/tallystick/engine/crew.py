"""Threads that run steps while the caller waits where signals reach it.

A step is never abandoned half way. Ctrl-C may arrive at any instruction of the calling thread; whatever it cuts short
there, the job itself is done by other threads, which also keep count of the steps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

LISTEN_S = 0.2  # how often the calling thread looks for signals that reached another thread

RunThread = Callable[[int, int, int, int], int]
"""(thread, first step, steps, steps of the session before) -> steps done; all threads of a crew run it at once."""


def _run_nothing(thread: int, first_step: int, steps: int, before: int) -> int:
    return 0


def _stop_nothing(now: bool) -> None:
    pass


class _Job:
    """Steps to do; handing one over twice does it once."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done = threading.Event()


class Crew:
    """As many threads as the work is split for, and where they stand."""

    def __init__(self, threads: int, run: RunThread, stop: Callable[[bool], None], step: int) -> None:
        """``stop(True)`` asks running threads to end after the step they are in."""
        self._run = run
        self._stop = stop
        self._step = step
        self._done = 0
        self._job: _Job | None = None
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._orders = [SimpleQueue[tuple[int, int, int] | None]() for _ in range(threads - 1)]
        self._answers: SimpleQueue[int] = SimpleQueue()
        for number, orders in enumerate(self._orders):
            threading.Thread(target=self._follow, args=(number + 1, orders), daemon=True).start()
        self._leader = threading.Thread(target=self._lead, daemon=True)
        self._leader.start()

    def settle(self) -> tuple[int, int]:
        """The number of the next step and how many were done before it, once no step is being run."""
        job = self._job
        if job is not None:
            self._jobs.put(job)  # in case an interruption came before it was handed over
            job.done.wait()
            self._job = None
        return self._step, self._done

    def advance(self, steps: int) -> None:
        """Run so many steps, or fewer if interrupted by Ctrl-C, which is raised again when all threads stand still."""
        self.settle()
        self._stop(False)
        job = self._job = _Job(steps)
        try:
            self._jobs.put(job)
            while not job.done.wait(LISTEN_S):
                pass
        except KeyboardInterrupt:
            self._stop(True)
            self.settle()
            raise
        self._job = None

    def close(self) -> None:
        """End the threads, after the step they are in, and forget what they ran."""
        self._stop(True)
        self.settle()
        self._jobs.put(None)
        self._leader.join()
        # Whoever is run also holds this crew: in a cycle, its memory would stay until Python looks for cycles, which
        # it does by the number of objects, not by their size.
        self._run, self._stop = _run_nothing, _stop_nothing

    def _lead(self) -> None:
        """Thread 0: takes jobs, has the others do them too."""
        while (job := self._jobs.get()) is not None:
            if job.done.is_set():
                continue
            for orders in self._orders:
                orders.put((self._step, job.steps, self._done))
            done = self._run(0, self._step, job.steps, self._done)
            for _ in self._orders:
                self._answers.get()
            self._step += done
            self._done += done
            job.done.set()
        for orders in self._orders:
            orders.put(None)

    def _follow(self, number: int, orders: SimpleQueue[tuple[int, int, int] | None]) -> None:
        while (order := orders.get()) is not None:
            self._answers.put(self._run(number, *order))
