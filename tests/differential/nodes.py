"""What a random job is before it is written out: named choices, each with a seed of its own.

Every choice inside a node comes from the node's own seed, so that a tree with nodes taken out is a job, too, and its
other nodes stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from differential.writer import Writer


@dataclass(frozen=True)
class Node:
    """A production by its name, the seed of what it chooses, and what stands inside of it."""

    kind: str
    seed: int
    inside: tuple[Node, ...] = ()

    def __str__(self) -> str:
        return self.kind + (f"({', '.join(map(str, self.inside))})" if self.inside else "")


@dataclass(frozen=True)
class Tree:
    """A whole job: what it reads, what the model does, what the loss is, what the job asks for."""

    seed: int
    data: Node
    model: tuple[Node, ...]
    loss: Node
    options: tuple[Node, ...] = ()

    def __str__(self) -> str:
        options = f" [{', '.join(map(str, self.options))}]" if self.options else ""
        return f"{self.data}: {' > '.join(map(str, self.model)) or '-'} > {self.loss}{options}"


Write = Callable[["Writer", Random, tuple[Node, ...]], None]


@dataclass
class Grammar:
    """Productions of one part of a job, by name: how often they are drawn, and what writes them."""

    weights: dict[str, float] = field(default_factory=dict)
    writes: dict[str, Write] = field(default_factory=dict)
    holds: set[str] = field(default_factory=set)

    def production(self, name: str, weight: float = 1.0, holds: bool = False) -> Callable[[Callable], Callable]:
        """Register a production. One that ``holds`` others is called with them."""

        def register(write: Callable) -> Callable:
            assert name not in self.writes, name
            self.weights[name] = weight
            self.writes[name] = write if holds else lambda w, r, _: write(w, r)
            if holds:
                self.holds.add(name)
            return write

        return register

    def table(self, name: str, rows: Mapping[str, float], write: Callable[[Writer, Random, str], None]) -> None:
        """Register a production for every row, which is handed to ``write``."""
        for row, weight in rows.items():
            self.production(f"{name} {row}", weight)(lambda w, r, row=row: write(w, r, row))

    def draw(self, random: Random, depth: int = 0) -> Node:
        """A random node, with random nodes inside; none holds others below two levels."""
        names = [name for name in self.weights if depth < 2 or name not in self.holds]
        kind = random.choices(names, [self.weights[name] for name in names])[0]
        inside = tuple(self.draw(random, depth + 1) for _ in range(random.randint(1, 2) if kind in self.holds else 0))
        return Node(kind, random.getrandbits(32), inside)


MODEL = Grammar()
"""What the model does to its activation ``x``."""
LOSS = Grammar()
"""What the loss does with the model."""
DATA = Grammar()
"""What the batch is."""
OPTION = Grammar()
"""What the job asks for beside the defaults."""
