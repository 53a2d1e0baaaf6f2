"""Who plays toy disputes: an honest side, one that tells a lie as well as it can, and one that points anywhere."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tallystick.spec.board import Game, Level, Phase
from tallystick.spec.board import Tree as Trees
from tallystick.spec.digests import CHUNK, open_slot
from tallystick.spec.game import boundary, levels, parts
from tallystick.spec.merkle import path
from tallystick.spec.moves import (
    Execute,
    Move,
    PointChild,
    PointElement,
    PointGather,
    PointInterval,
    ProveInput,
    ProveSlot,
    RevealChildren,
    RevealChunk,
    RevealInterval,
    RevealTensor,
    RevealTrace,
)
from toy.story import Story, Tree
from witnesses import write_witness


class Table:
    """What everybody at a game has seen: the last thing revealed, and the trace tree as far as it is known."""

    def __init__(self) -> None:
        self.last: Move | None = None
        self.trace: dict[tuple[int, int], bytes] = {}

    def saw(self, game: Game, move: Move) -> None:
        """Remember a move that was made when the game stood like this after it."""
        if isinstance(move, (RevealInterval, RevealChunk, RevealTrace, RevealChildren, RevealTensor)):
            self.last = move
        if isinstance(move, (RevealTrace, RevealChildren)) and game.tree is Trees.TRACE and move.children:
            tree = Tree(list(move.children))
            for height, level in enumerate(tree.levels):
                below = game.height - tree.height + height
                first = game.index << (tree.height - height)
                self.trace |= {(below, first + number): digest for number, digest in enumerate(level)}


class Player:
    """Knows a story, and makes what it takes to show it."""

    def __init__(self, story: Story, fanout: int) -> None:
        self.story, self.fanout = story, fanout

    def tree(self, game: Game) -> Tree:
        """The tree that is descended, as this side tells it."""
        match game.tree:
            case Trees.TRACE:
                return self.story.trace(game.step)[1]
            case Trees.STATE:
                return self.story.state_tree(game.step + 1)
            case Trees.CHUNKS:
                return self.story.trace(game.step)[0][game.value].chunks

    def children(self, game: Game) -> tuple[bytes, ...]:
        """Those of the disputed node, as this side tells them."""
        return tuple(self.tree(game).children(game.height, game.index, levels(game.height, self.fanout)))

    def items(self, game: Game) -> list[bytes]:
        """Those at the inner boundaries of the interval, as this side tells them."""
        numbers = [boundary(game, part, self.fanout) for part in range(1, parts(game, self.fanout))]
        if game.level is Level.STEPS:
            return [self.story.root(number) for number in numbers]
        return [self.accumulators(game, number) for number in numbers]

    def accumulators(self, game: Game, position: int) -> bytes:
        words = self.story.accumulators(game.step, game.value, game.element, position)
        return b"".join(word.to_bytes(4, "little") for word in words)

    # WHAT ANYBODY MAY PROVE

    def prove(self, game: Game, table: Table) -> Move:
        """The proof that a game waits for, from a true story."""
        match game.phase:
            case Phase.PROVE_INPUT:
                return self.prove_input(game)
            case Phase.PROVE_SLOT:
                return self.prove_slot(game, table)
            case _:
                return self.execute(game, table)

    def prove_input(self, game: Game) -> ProveInput:
        states, constants = self.story.state_tree(game.step), Tree([value.digest for value in self.story.constants])
        tree, number = (states, game.value) if game.value < game.states else (constants, game.value - game.states)
        return ProveInput(tree.levels[0][number], tuple(tree.path(number)))

    def prove_slot(self, game: Game, table: Table) -> ProveSlot:
        slot = open_slot(self.story.program, game.index)
        digest = self.story.trace(game.step)[0][slot.next_value].digest
        way = tuple(self.trace_path(game, table, slot.next_value))
        return ProveSlot(self.story.header, slot.type_bytes, slot.next_value, slot.siblings, digest, way)

    def execute(self, game: Game, table: Table) -> Execute:
        story, kernel = self.story, self.story.kernel(game.value)
        values = story.trace(game.step)[0]
        words = story.accumulators(game.step, game.value, game.element, game.low)
        witness = write_witness(
            kernel,
            story.place(game.step, game.value, game.element),
            game.low,
            words,
            [value.tensor for value in values],
            [value.digest for value in values],
            lambda value: self.trace_path(game, table, value),
        )
        opening = story.kernel_opening(game.value)
        return Execute(opening.first_value, opening.kernel_bytes, tuple(words), witness)

    def trace_path(self, game: Game, table: Table, value: int) -> list[bytes]:
        """The way of an agreed value to the defender's trace root: revealed nodes, and own ones where all is agreed."""
        own = self.story.trace(game.step)[1]
        spots = [(height, (value >> height) ^ 1) for height in range(own.height)]
        return [table.trace.get((height, index), own.levels[height][index]) for height, index in spots]


class Defender(Player):
    """Reveals what its story says."""

    def answer(self, game: Game, table: Table) -> Move | None:
        """A move, or None where the story has none."""
        match game.phase:
            case Phase.REVEAL_INTERVAL:
                return RevealInterval(b"".join(self.items(game)))
            case Phase.REVEAL_TRACE:
                return self.reveal_trace(game)
            case Phase.REVEAL_CHILDREN:
                return RevealChildren(self.children(game)) if self.knows(game) else None
            case Phase.REVEAL_TENSOR:
                return self.reveal_tensor(game)
            case Phase.REVEAL_CHUNK:
                data = self.story.trace(game.step)[0][game.value].tensor.data
                return RevealChunk(bytes(data[game.index * CHUNK : (game.index + 1) * CHUNK]))
            case _:
                return self.prove(game, table)

    def knows(self, game: Game) -> bool:
        tree = self.tree(game)
        return game.height <= tree.height and tree.levels[game.height][game.index] == game.node

    def reveal_trace(self, game: Game) -> RevealTrace:
        tree = self.story.trace(game.step)[1]
        children = tree.children(tree.height, 0, levels(tree.height, self.fanout)) if tree.height else []
        return RevealTrace(self.story.header, tree.root, tuple(children))

    def reveal_tensor(self, game: Game) -> RevealTensor:
        opening = self.story.kernel_opening(game.value)
        tree = self.story.trace(game.step)[0][game.value].chunks
        children = tree.children(tree.height, 0, levels(tree.height, self.fanout)) if tree.height else []
        return RevealTensor(
            self.story.header,
            opening.number,
            opening.first_value,
            opening.kernel_bytes,
            opening.siblings,
            tree.root,
            tuple(children),
        )


class LyingDefender(Defender):
    """Lies once more where nothing checks it: state roots nobody can open, accumulators that turn wrong somewhere."""

    def __init__(self, story: Story, fanout: int, rng: random.Random) -> None:
        super().__init__(story, fanout)
        self.rng = rng
        self.wild = rng.random() < 0.2
        self.turns_wrong = rng.randrange(1, 40)

    def items(self, game: Game) -> list[bytes]:
        items = super().items(game)
        if game.level is Level.STEPS and self.wild:
            return [self.rng.randbytes(32) if self.rng.random() < 0.3 else item for item in items]
        return items

    def accumulators(self, game: Game, position: int) -> bytes:
        words = super().accumulators(game, position)
        if position < self.turns_wrong or not words:
            return words
        at = self.turns_wrong % len(words)
        return words[:at] + bytes([words[at] ^ 1 + self.turns_wrong % 255]) + words[at + 1 :]


class Challenger(Player):
    """Points at the first thing that its story contradicts."""

    def answer(self, game: Game, table: Table) -> Move:
        match game.phase, table.last:
            case Phase.POINT_INTERVAL, RevealInterval(items):
                return PointInterval(self.part(game, items), items)
            case (
                (Phase.POINT_TRACE | Phase.POINT_CHILD),
                (RevealTrace(children=children) | RevealChildren(children) | RevealTensor(children=children)),
            ):
                return self.point_child(game, children, self.child(game, children))
            case Phase.POINT_ELEMENT, RevealChunk(chunk):
                return PointElement(self.element(game, chunk), chunk)
            case _:
                return self.prove(game, table)

    def part(self, game: Game, items: bytes) -> int:
        own = b"".join(self.items(game))
        width = len(own) // max(1, parts(game, self.fanout) - 1)
        wrong = (at // width for at in range(0, len(own), width) if items[at : at + width] != own[at : at + width])
        return next(wrong, parts(game, self.fanout) - 1) + 1

    def child(self, game: Game, children: Sequence[bytes]) -> int | None:
        if not children:
            return None if game.node == self.tree(game).root else 0
        own = self.children(game)
        return next((number for number, child in enumerate(children) if child != own[number]), None)

    def point_child(self, game: Game, children: Sequence[bytes], child: int | None) -> PointChild | PointGather:
        if child is None:
            assert game.phase is Phase.POINT_TRACE, "a node that is wrong has a wrong child"
            return PointGather()
        digests = list(children) or [game.node]
        return PointChild(child, digests[child], tuple(path(digests, child)))

    def element(self, game: Game, chunk: bytes) -> int:
        own = self.story.trace(game.step)[0][game.value].tensor.data[game.index * CHUNK : (game.index + 1) * CHUNK]
        return next(at for at in range(len(own)) if own[at] != chunk[at]) // game.size


class RandomChallenger(Challenger):
    """Points anywhere."""

    def __init__(self, story: Story, fanout: int, rng: random.Random) -> None:
        super().__init__(story, fanout)
        self.rng = rng

    def part(self, game: Game, items: bytes) -> int:
        return self.rng.randint(1, parts(game, self.fanout))

    def child(self, game: Game, children: Sequence[bytes]) -> int | None:
        if game.phase is Phase.POINT_TRACE and self.rng.random() < 0.2:
            return None
        return self.rng.randrange(max(1, len(children)))

    def element(self, game: Game, chunk: bytes) -> int:
        return self.rng.randrange(len(chunk) // game.size)
