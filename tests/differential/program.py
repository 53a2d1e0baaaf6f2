"""From a tree of choices to a Python file, and from a file to a job that can be run."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

# The productions register themselves.
from differential import (
    activations,
    attention,
    buffers,
    formulas,
    gradients,
    hooks,
    indexing,
    inputs,
    layers,
    losses,
    norms,
    options,
    owned_losses,
    parameters,
    python_state,
    randomness,
    recurrence,
    structure,
    views,
    writes,
)
from differential.nodes import DATA, LOSS, MODEL, OPTION, Tree
from differential.writer import BATCH, Writer

PRODUCTIONS = (
    activations,
    attention,
    buffers,
    formulas,
    gradients,
    hooks,
    indexing,
    inputs,
    layers,
    losses,
    norms,
    options,
    owned_losses,
    parameters,
    python_state,
    randomness,
    recurrence,
    structure,
    views,
    writes,
)
STEPS = 6


@dataclass(frozen=True)
class Program:
    """``make()`` returns (model, loss, what the loss closes over by name); all three make everything anew."""

    make: Callable[[], tuple[Any, Any, dict[str, Any]]]
    data: Callable[[], dict[str, Any]]
    job: Callable[[], dict[str, Any]]


def draw(seed: int) -> Tree:
    """The random job of a seed."""
    random = Random(seed)
    data = DATA.draw(random)
    model = tuple(MODEL.draw(random) for _ in range(random.choice((1, 2, 2, 3, 3, 4, 5))))
    loss = LOSS.draw(random)
    options = {node.kind: node for node in (OPTION.draw(random) for _ in range(random.choice((0, 1, 1, 2, 3))))}
    return Tree(seed, data, model, loss, tuple(options.values()))


def written(tree: Tree) -> str:
    """The tree as a Python file that can be run."""
    w = Writer(tree.seed)
    DATA.writes[tree.data.kind](w, Random(tree.data.seed), ())
    w.write_all(tree.model)
    LOSS.writes[tree.loss.kind](w, Random(tree.loss.seed), tree.loss.inside)
    w.options |= {"optimizer": "ts.optim.SGD(0.1)", "batch_size": str(BATCH), "steps": str(STEPS)}
    for node in tree.options:
        OPTION.writes[node.kind](w, Random(node.seed), ())
    return w.text(f"Job {tree.seed}, {tree}")


def loaded(text: str, folder: Path, name: str) -> Program:
    """Import a written job. The file is kept: the lines of errors come from it."""
    path = folder / f"{name}.py"
    path.write_text(text)
    return opened(path)


def opened(path: Path) -> Program:
    """The job of a file. Every ``make()`` imports the file anew: a class or a module may keep state, too."""

    def imported() -> Any:
        spec = importlib.util.spec_from_file_location(f"differential_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    module = imported()
    return Program(lambda: imported().make(), module.data, module.job)
