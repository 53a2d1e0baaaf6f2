"""Making a job that went wrong smaller, as long as it goes wrong the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from differential.nodes import Node, Tree

PLAIN_LOSS = Node("bare model(x).square().mean()", 0)
PLAIN_DATA = Node("vectors", 0)


def shrunk(tree: Tree, fails: Callable[[Tree], bool], seconds: float = 60.0) -> Tree:
    """The smallest tree that was found in some time. ``fails`` says whether one still goes wrong the same way."""
    until = time.monotonic() + seconds
    smaller = True
    while smaller and time.monotonic() < until:
        smaller = False
        for candidate in candidates(tree):
            if time.monotonic() > until:
                break
            if fails(candidate):
                tree, smaller = candidate, True
                break
    return tree


def candidates(tree: Tree) -> Iterator[Tree]:
    """Trees with something taken out or made plain, the boldest first."""
    if tree.options:
        yield replace(tree, options=())
    if len(tree.model) > 1:
        for node in tree.model:
            yield replace(tree, model=(node,))
    for model in without_one(tree.model):
        yield replace(tree, model=model)
    if tree.loss != PLAIN_LOSS:
        yield replace(tree, loss=PLAIN_LOSS)
    if tree.data != PLAIN_DATA:
        yield replace(tree, data=PLAIN_DATA)
    for position in range(len(tree.options) if len(tree.options) > 1 else 0):
        yield replace(tree, options=tree.options[:position] + tree.options[position + 1 :])


def without_one(nodes: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    """The nodes without one of them; with what stands inside of one in its place; with one made smaller inside."""
    for position, node in enumerate(nodes):
        before, after = nodes[:position], nodes[position + 1 :]
        yield before + after
        if node.inside:
            yield before + node.inside + after
            for inside in without_one(node.inside):
                if inside:
                    yield (*before, replace(node, inside=inside), *after)


def shrunk_lines(text: str, fails: Callable[[str], bool], seconds: float = 60.0) -> str:
    """A written job without the lines of ``forward`` that it goes wrong without."""
    until = time.monotonic() + seconds
    lines = text.split("\n")
    first = next(number for number, line in enumerate(lines) if "def forward(self, x):" in line) + 1
    last = next(number for number in range(first, len(lines)) if lines[number] == "        return x")
    for number in reversed(range(first, last)):
        if time.monotonic() > until:
            break
        fewer = lines[:number] + lines[number + 1 :]
        if fails("\n".join(fewer)):
            lines = fewer
    return "\n".join(lines)
