"""Runs jobs in processes of their own, so that one that crashes or never ends is an ending, too."""

from __future__ import annotations

import itertools
import multiprocessing
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from differential.nodes import Tree
from differential.program import loaded, written
from differential.trial import CRASHED, ENDLESS, INVALID, Ending, attempt

SECONDS = 300  # for one job


def run(text: str, folder: Path, name: str) -> Ending:
    """Run a job that was written out, in this process."""
    try:
        program = loaded(text, folder, name)
    except SyntaxError as error:  # a line too many was taken out
        return Ending([INVALID], [str(error)])
    return attempt(program)


def serve(connection: Any) -> None:
    """What a worker does: take the text of a job, answer with how it ended, until it is given None."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for number in itertools.count():
            if (text := connection.recv()) is None:
                return
            connection.send(run(text, Path(folder), f"job_{number}"))


class Worker:
    """One process, started anew when it is gone."""

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Any = None

    def attempt(self, text: str) -> Ending:
        if self._process is None or not self._process.is_alive():
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        try:
            self._connection.send(text)
            if self._connection.poll(SECONDS):
                return self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join()
            return Ending([CRASHED], [f"the process ended with {self._process.exitcode}"])
        self._process.kill()
        return Ending([ENDLESS], [f"no end after {SECONDS} s"])

    def close(self) -> None:
        if self._process is not None and self._process.is_alive():
            self._connection.send(None)
            self._process.join()


class Workers:
    """Some workers, side by side."""

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[Worker] = SimpleQueue()
        self._all = [Worker() for _ in range(count)]
        for worker in self._all:
            self._free.put(worker)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *raised: object) -> None:
        for worker in self._all:
            worker.close()

    def attempt(self, text: str) -> Ending:
        """Run a job in the next worker that is free."""
        worker = self._free.get()
        try:
            return worker.attempt(text)
        finally:
            self._free.put(worker)

    def all(self, trees: Iterable[Tree]) -> Iterator[tuple[Tree, Ending]]:
        """Every tree and how it ended, in order."""
        with ThreadPoolExecutor(len(self._all)) as pool:
            begun: list[tuple[Tree, Future[Ending]]] = []
            for tree in trees:
                begun.append((tree, pool.submit(self.attempt, written(tree))))
                if len(begun) > 2 * len(self._all):
                    first, future = begun.pop(0)
                    yield first, future.result()
            for first, future in begun:
                yield first, future.result()
