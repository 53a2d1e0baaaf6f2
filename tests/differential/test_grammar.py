"""The grammar: the same seed is the same job, and no production is dead."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import tallystick as ts
from differential.alone import alone
from differential.eager import run_eagerly
from differential.nodes import DATA, LOSS, MODEL, OPTION, Node, Tree
from differential.program import draw, loaded, written
from differential.shrinking import shrunk

# What eager PyTorch must refuse is in the grammar on purpose.
MEANT_TO_FAIL = ("index outside", "wrong write", "bare model(x)", "bare (model(x) > 0)", "heaviside", "unique()")
FIRST = 40


def names(node: Node) -> set[str]:
    return {node.kind}.union(*map(names, node.inside))


def test_a_seed_is_a_job() -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    script = "from differential.program import draw, written; print(*(written(draw(seed)) for seed in range(40)))"
    text = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env).stdout
    assert text == " ".join(written(draw(seed)) for seed in range(FIRST)) + "\n"


def test_every_production_is_drawn() -> None:
    trees = [draw(seed) for seed in range(2000)]
    drawn = set().union(*(names(node) for tree in trees for node in (tree.data, *tree.model, tree.loss, *tree.options)))
    known = {*MODEL.weights, *LOSS.weights, *DATA.weights, *OPTION.weights}
    assert drawn <= known and len(known - drawn) <= 8, known - drawn


def test_every_production_runs_in_eager_pytorch(tmp_path: Path) -> None:
    """With one seed of three; or it would never be compared."""
    dead = {}
    for number, trees in enumerate(zip(*(alone(seed) for seed in range(3)), strict=True)):
        if not any(word in str(trees[0]) for word in MEANT_TO_FAIL):
            errors = (error_of(tree, tmp_path, f"job_{number}_{tree.seed}") for tree in trees)
            if first := next((error for error in errors if error is None), "none of them runs"):
                dead[str(trees[0])] = first
    assert not dead, dead


def error_of(tree: Tree, folder: Path, name: str) -> str | None:
    """What eager PyTorch says to a job, or None if it trains."""
    program = loaded(written(tree), folder, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run_eagerly(program.make(), program.data(), program.job())
    except ts.CaptureError:
        return None  # draws random numbers that eager PyTorch cannot be made to draw alike
    except Exception as error:  # noqa: BLE001 - whatever a job raises
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None


def test_shrinking_finds_what_matters() -> None:
    """The job goes wrong if a linear layer stands anywhere in it and there is an optimizer."""
    found = 0
    for seed in range(200):
        tree = draw(seed)

        def fails(tree: Tree) -> bool:
            return "Linear" in str([*map(str, tree.model)]) and any(node.kind == "optimizer" for node in tree.options)

        if fails(tree):
            small = shrunk(tree, fails, 10)
            assert fails(small) and len(small.model) == len(small.options) == 1
            assert len(small.model[0].inside) <= 1
            found += 1
    assert found >= 5


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_shapes_are_known(rank: int, tmp_path: Path) -> None:
    """What is written after a production relies on the shape that it is said to leave."""
    sources = {1: "vectors", 2: "sequences", 3: "images"}
    wrong = []
    for number, tree in enumerate(alone(rank)):
        if any(word in str(tree) for word in MEANT_TO_FAIL):
            continue
        if tree.model and tree.data.kind == "vectors" and tree.loss.kind.startswith("loss") and not tree.options:
            tree = Tree(rank, Node(sources[rank], 7), tree.model[1:], Node("bare model(x).square().mean()", 3))
            error = error_of(tree, tmp_path, f"shape_{number}")
            if error and ("shape" in error or "size" in error):
                wrong.append(f"{tree}: {error}")
    assert not wrong, wrong
