"""Programs that somebody means harm with: valid ones with something broken in them, as objects and as bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from enum import IntEnum
from typing import Any

from tallystick.spec.instructions import Instruction, Op
from tallystick.spec.kernels import Kernel, Scatter
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType

NUMBERS = (
    *(0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 63, 64, 255, 256, 257, 511, 512, 4096, 65535, 65536),
    *(1 << 20, 1 << 31, (1 << 31) - 1, 1 << 32, (1 << 32) - 1, 1 << 40, (1 << 40) + 1, 1 << 62, 1 << 63, 1 << 64),
    1 << 200,
)
ABSENT = {Kernel: ("fold", "scatter"), Scatter: ("base", "merge")}

Place = tuple[str | int, ...]


def damage(program: Program, rng: random.Random) -> Program:
    """The program with one to three of its parts changed at random."""
    for _ in range(rng.randint(1, 3)):
        places = list(parts(program, ()))
        program = changed(program, rng.choice(places), rng)
    return program


def parts(node: Any, place: Place) -> Iterator[Place]:
    """Where everything inside a node is."""
    if is_dataclass(node):
        for field in fields(node):
            yield (*place, field.name)
            yield from parts(getattr(node, field.name), (*place, field.name))
    elif isinstance(node, tuple):
        for index, item in enumerate(node):
            yield (*place, index)
            yield from parts(item, (*place, index))


def changed(node: Any, place: Place, rng: random.Random) -> Any:
    """The node with the part at a place replaced by another of its kind."""
    if not place:
        return another(node, rng)
    head, *rest = place
    if isinstance(node, tuple):
        assert isinstance(head, int)
        return (*node[:head], changed(node[head], tuple(rest), rng), *node[head + 1 :])
    assert isinstance(head, str)
    if not rest and head in ABSENT.get(type(node), ()) and rng.random() < 0.5:
        return replace(node, **{head: None})
    return replace(node, **{head: changed(getattr(node, head), tuple(rest), rng)})


def another(node: Any, rng: random.Random) -> Any:
    """Something of the same kind."""
    if isinstance(node, Op):
        return rng.choice(list(Op))
    if isinstance(node, DType):
        return rng.choice(list(DType))
    if isinstance(node, bool):
        return not node
    if isinstance(node, int) and not isinstance(node, IntEnum):
        return rng.choice([node + 1, node - 1, -node, node * 2, rng.choice(NUMBERS), -rng.choice(NUMBERS)])
    if isinstance(node, Instruction):
        return Instruction(rng.choice(list(Op)), node.args, node.imm)
    if isinstance(node, tuple) and node:
        at = rng.randrange(len(node))
        return rng.choice([node[:at], node[at:], (*node, node[at]), node[::-1], node * rng.choice([2, 3, 20]), ()])
    return node


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a few of them flipped, set, dropped, doubled or moved."""
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        if not damaged:
            break
        at = rng.randrange(len(damaged))
        match rng.choice([0, 0, 0, 1, 1, 2, 3, 4, 5, 6]):
            case 0:
                damaged[at] ^= 1 << rng.randrange(8)
            case 1:
                damaged[at] = rng.choice([0, 1, 2, 5, 16, 127, 128, 255])
            case 2:
                del damaged[at : at + rng.choice([1, 2, 4, 5, 8, 100])]
            case 3:
                damaged[at:at] = damaged[at : at + rng.choice([1, 2, 4, 5, 8, 100])]
            case 4:
                damaged[at:at] = rng.randbytes(rng.choice([1, 4, 5, 8]))
            case 5:
                other = rng.randrange(len(damaged))
                damaged[at : at + 8], damaged[other : other + 8] = damaged[other : other + 8], damaged[at : at + 8]
            case 6:
                damaged[at : at + 8] = rng.choice(NUMBERS[:-2]).to_bytes(8, "little")
    return bytes(damaged)
