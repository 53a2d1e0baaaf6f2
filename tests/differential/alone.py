"""Every production of the grammar in a job of its own, with as little around it as can be."""

from __future__ import annotations

from collections.abc import Iterator

from differential.nodes import DATA, LOSS, MODEL, OPTION, Node, Tree

VECTORS, LINEAR, MEAN_SQUARE = Node("vectors", 1), Node("Linear", 5), Node("loss F.mse_loss(out, y)", 0)


def alone(seed: int, words: str = "") -> Iterator[Tree]:
    """A small job for every production whose name holds some words; ``seed`` decides what the production chooses."""
    for kind in MODEL.weights:
        inside = (Node("Linear", seed),) if kind in MODEL.holds else ()
        yield from chosen(words, kind, Tree(seed, VECTORS, (LINEAR, Node(kind, seed, inside)), MEAN_SQUARE))
    for kind in LOSS.weights:
        yield from chosen(words, kind, Tree(seed, VECTORS, (), Node(kind, seed)))
    for kind in DATA.weights:
        yield from chosen(words, kind, Tree(seed, Node(kind, seed), (LINEAR,), MEAN_SQUARE))
    for kind in OPTION.weights:
        yield from chosen(
            words, kind, Tree(seed, VECTORS, (LINEAR, Node("BatchNorm", 0)), MEAN_SQUARE, (Node(kind, seed),))
        )


def chosen(words: str, kind: str, tree: Tree) -> Iterator[Tree]:
    if words in kind:
        yield tree
