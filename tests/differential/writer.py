"""Writes a job as Python: collects lines of model, loss, data and job, and knows the shape of ``x``."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from random import Random

from differential.nodes import MODEL, Node

ROWS, BATCH = 12, 4
MOST = 96  # elements of an activation per row; what grows beyond is projected down

HEAD = """import collections
import itertools
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import tallystick as ts
"""


class Writer:
    """``shape`` is that of ``x`` without its first dimension, the batch."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.shape: tuple[int, ...] = ()
        self.top: list[str] = []  # definitions before the model's class
        self.init: list[str] = []
        self.body: list[str] = []
        self.built: list[str] = []  # what is done to the model once it is made, and what the loss closes over
        self.beside: list[str] = []  # names of what the loss closes over
        self.loss: list[str] = []
        self.data: dict[str, str] = {}
        self.damage: list[str] = []  # lines that change the data afterwards
        self.options: dict[str, str] = {}
        self._names = 0
        self._indent = ""

    # NAMES AND LINES
    def name(self, prefix: str) -> str:
        self._names += 1
        return f"{prefix}{self._names}"

    def do(self, *lines: str) -> None:
        """Statements of ``forward``."""
        self.body += [self._indent + line for line in lines]

    def x(self, expression: str, *shape: int) -> None:
        """``x`` becomes an expression; of another shape, if one is given."""
        self.do(f"x = {expression}")
        if shape:
            self.shape = shape

    def module(self, expression: str) -> str:
        """A submodule; returns how ``forward`` names it."""
        name = self.name("m")
        self.init.append(f"self.{name} = {expression}")
        return f"self.{name}"

    def parameter(self, expression: str, trained: bool = True) -> str:
        name = self.name("p")
        self.init.append(f"self.{name} = nn.Parameter({expression}{'' if trained else ', requires_grad=False'})")
        return f"self.{name}"

    def buffer(self, expression: str, persistent: bool = True) -> str:
        name = self.name("b")
        self.init.append(f'self.register_buffer("{name}", {expression}{"" if persistent else ", persistent=False"})')
        return f"self.{name}"

    def attribute(self, expression: str) -> str:
        name = self.name("a")
        self.init.append(f"self.{name} = {expression}")
        return f"self.{name}"

    @contextlib.contextmanager
    def block(self, line: str) -> Iterator[None]:
        """A statement with a body, in ``forward``."""
        self.do(line)
        before, self._indent, length = self._indent, self._indent + "    ", len(self.body)
        yield
        if len(self.body) == length:
            self.do("pass")
        self._indent = before

    def write(self, node: Node) -> None:
        """Write a node of the model out."""
        MODEL.writes[node.kind](self, Random(node.seed), node.inside)
        if math.prod(self.shape) > MOST:
            self.project(24)

    def write_all(self, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            self.write(node)

    # SHAPES
    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    def project(self, size: int) -> None:
        """Make ``x`` a vector of some size by a linear layer."""
        self.rank(1)
        self.x(f"{self.module(f'nn.Linear({self.shape[0]}, {size})')}(x)", size)

    def rank(self, wanted: int) -> None:
        """Bring ``x`` to a vector (D,), a sequence (T, D) or an image (C, H, W)."""
        if len(self.shape) == wanted:
            return
        if wanted == 1:
            self.x("x.flatten(1)", self.elements)
        elif wanted == 2 and len(self.shape) == 3:
            self.x("x.flatten(2)", self.shape[0], self.shape[1] * self.shape[2])
        elif wanted == 2:
            length = next((t for t in (4, 3, 2) if self.shape[0] % t == 0 and self.shape[0] >= 2 * t), None)
            if length is None:
                self.project(12)
                length = 3
            self.x(f"x.unflatten(1, ({length}, {self.shape[0] // length}))", length, self.shape[0] // length)
        else:
            self.rank(1)
            if self.shape[0] not in (16, 32, 48, 64):
                self.project(32)
            self.x(f"x.unflatten(1, ({self.shape[0] // 16}, 4, 4))", self.shape[0] // 16, 4, 4)

    def image(self, least: int = 3) -> tuple[int, int, int]:
        """Bring ``x`` to an image of at least some height and width."""
        self.rank(3)
        if min(self.shape[1:]) < least or max(self.shape[1:]) > 8:
            self.project(32)
            self.rank(3)
        return self.shape[0], self.shape[1], self.shape[2]

    def sequence(self, least: int = 2) -> tuple[int, int]:
        """Bring ``x`` to a sequence of at least some length, of vectors of at least two elements."""
        self.rank(2)
        if self.shape[0] < least or self.shape[1] < 2 or max(self.shape) > 16:
            self.project(24)
            self.x("x.unflatten(1, (4, 6))", 4, 6)
        return self.shape[0], self.shape[1]

    def vector(self) -> int:
        self.rank(1)
        return self.shape[0]

    # THE WHOLE FILE
    def text(self, title: str) -> str:
        """The file: ``make()`` returns model, loss and what that closes over; ``data()`` arrays; ``job()`` the rest."""
        names = ", ".join(self.data)
        parts = [
            f'"""{title}"""\n\n{HEAD}\n',
            *(line + "\n" for line in self.top),
            "\nclass Model(nn.Module):\n    def __init__(self):\n        super().__init__()\n",
            *(f"        {line}\n" for line in self.init),
            "\n    def forward(self, x):\n",
            *(f"        {line}\n" for line in self.body),
            "        return x\n",
            f"\n\ndef make():\n    torch.manual_seed({self.seed})\n    random.seed({self.seed})\n",
            f"    np.random.seed({self.seed})\n    model = Model()\n",
            *(f"    {line}\n" for line in self.built),
            f"\n    def loss(model, {names}):\n",
            *(f"        {line}\n" for line in self.loss),
            f"\n    return model, loss, {{{', '.join(f'{name!r}: {name}' for name in self.beside)}}}\n",
            f"\n\ndef data():\n    rng = np.random.default_rng({self.seed})\n",
            *(f"    {name} = {expression}\n" for name, expression in self.data.items()),
            *(f"    {line}\n" for line in self.damage),
            f"    return dict({', '.join(f'{name}={name}' for name in self.data)})\n",
            "\n\ndef job():\n    return dict(\n",
            *(f"        {name}={value},\n" for name, value in self.options.items()),
            "    )\n",
            '\n\nif __name__ == "__main__":\n    from differential.trial import show\n\n    show(__file__)\n',
        ]
        return "".join(parts)
