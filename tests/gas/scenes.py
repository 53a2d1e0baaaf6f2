"""Disputes of any size about one scalar step: what each side has, and the moves that lead there.

Both sides agree on everything left of the disputed value, so one object answers for both: it reveals what a worker
claims and points at where the lie is. Trees are sparse but real, what is executed in the end is executed for real.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from gas.trees import SparseTensor, SparseTree, SparseWords, with_elements
from tallystick.spec.board import Claim, Game, Level, Phase, Tree
from tallystick.spec.digests import CHUNK, ProgramHeader, kernel_leaf
from tallystick.spec.encoding import encode_kernel, encode_tensor_type
from tallystick.spec.game import boundary, levels, parts
from tallystick.spec.instructions import run_registers
from tallystick.spec.kernels import Kernel, StepEnvironment
from tallystick.spec.leaf import encode_nothing, encode_outside, encode_word, witnessed_values
from tallystick.spec.merkle import leaf, path
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
from tallystick.spec.scalar_steps import Place, Work, accumulator_words, run_scalar_step, scalar_step, scalar_steps
from tallystick.spec.tensors import DType, TensorType
from witnesses import environment


def digest_of(*names: object) -> bytes:
    """Some digest, the same for the same names."""
    return sha256(repr(names).encode()).digest()


def words_of(count: int, *names: object) -> list[int]:
    """Some words without zero bytes."""
    stream = b"".join(sha256(repr((*names, part)).encode()).digest() for part in range(count // 8 + 1))
    return [int.from_bytes(stream[4 * word : 4 * word + 4], "little") | 0x01010101 for word in range(count)]


def packed(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(4, "little") for word in words)


@dataclass(frozen=True)
class Size:
    """How large a claim and its program are. ``step`` of the claim is disputed."""

    steps: int = 1
    step: int = 0
    states: int = 200
    constants: int = 10
    values: int = 4_000
    kernels: int = 2_000


@dataclass(frozen=True)
class Scene:
    """A scalar step of a kernel, and the tensors that it reads, by the numbers of their values.

    ``accumulators`` stand before the step; ``kernel_number`` and ``first_value`` say where in the program it is.
    """

    kernel: Kernel
    element: int
    position: int
    accumulators: tuple[int, ...]
    tensors: Mapping[int, SparseTensor]
    size: Size = field(default_factory=Size)
    first_value: int = 3_000
    kernel_number: int = 1_500
    output: int = 0

    @property
    def place(self) -> Place:
        return Place(self.output, self.element, self.size.step)

    @cached_property
    def after(self) -> list[int]:
        """The truth."""
        words = SparseWords(self.kernel, self.tensors)
        return run_scalar_step(self.kernel, self.place, self.position, list(self.accumulators), words)

    @property
    def is_last(self) -> bool:
        return self.position == scalar_steps(self.kernel, self.element) - 1

    @property
    def type(self) -> TensorType:
        """Of the disputed value."""
        return self.kernel.output_types[self.output]


class Course:
    """Both sides of a dispute about a scene. ``true``: the worker claims the truth, and the challenger errs."""

    def __init__(self, scene: Scene, true: bool = False) -> None:
        self.scene = scene
        self.claimed = list(scene.after)
        if not true:
            self.claimed[0] ^= 1
        size, value = scene.size, scene.first_value + scene.output
        bits = self.claimed[0] if scene.is_last else 0
        self.tensor = with_elements(scene.type, {scene.element: bits}, b"\x9a\x3b\x7c\x5d")
        known = {number: tensor.digest for number, tensor in scene.tensors.items()}
        self.value = value
        self.trace = SparseTree(size.values, digest_of("value"), {**known, value: self.tensor.digest})
        self.start = SparseTree(size.states, digest_of("before"), {})
        self.end = SparseTree(size.states, digest_of("after"), {})
        self.kernel_bytes = encode_kernel(scene.kernel)
        kernel = kernel_leaf(scene.first_value, self.kernel_bytes)
        self.kernels = SparseTree(size.kernels, digest_of("kernel"), {scene.kernel_number: kernel})
        self.slots = SparseTree(size.states + size.constants, digest_of("slot"), {})

    @property
    def header(self) -> ProgramHeader:
        size = self.scene.size
        return ProgramHeader(size.states, size.constants, size.values, size.kernels, self.slots.root, self.kernels.root)

    @property
    def claim(self) -> Claim:
        steps = self.scene.size.steps
        roots = (self.header.root, digest_of("constants"))
        return Claim(*roots, self.root_after(0), self.root_after(steps), 0, steps)

    def root_after(self, steps: int) -> bytes:
        """The state root after so many steps."""
        nearby = {self.scene.size.step: self.start.root, self.scene.size.step + 1: self.end.root}
        return nearby.get(steps) or digest_of("root", steps)

    # MOVES

    def answer(self, game: Game, fanout: int) -> Move:
        """The move that leads on."""
        match game.phase:
            case Phase.REVEAL_INTERVAL:
                return RevealInterval(self.items(game, fanout))
            case Phase.POINT_INTERVAL:
                target = self.scene.size.step if game.level is Level.STEPS else self.scene.position
                count = parts(game, fanout)
                part = next(n for n in range(1, count + 1) if target < boundary(game, n, fanout))
                return PointInterval(part, self.items(game, fanout))
            case Phase.REVEAL_TRACE:
                height = self.trace.height
                return RevealTrace(self.header, self.trace.root, self.below(self.trace, height, 0, fanout))
            case Phase.REVEAL_CHILDREN:
                return RevealChildren(self.below(self.tree(game), game.height, game.index, fanout))
            case Phase.POINT_TRACE | Phase.POINT_CHILD:
                return self.point_child(game, fanout)
            case Phase.REVEAL_TENSOR:
                return self.reveal_tensor(fanout)
            case Phase.REVEAL_CHUNK:
                return RevealChunk(self.tensor.chunk(game.index))
            case Phase.POINT_ELEMENT:
                number = self.scene.element % (CHUNK // self.scene.type.dtype.size)
                return PointElement(number, self.tensor.chunk(game.index))
            case Phase.EXECUTE:
                before = self.scene.accumulators
                return Execute(self.scene.first_value, self.kernel_bytes, before, self.witness())
            case _:
                raise AssertionError(f"this course does not come to {game.phase.name}")

    def items(self, game: Game, fanout: int) -> bytes:
        """What the worker has at the inner boundaries of the interval."""
        numbers = [boundary(game, part, fanout) for part in range(1, parts(game, fanout))]
        if game.level is Level.STEPS:
            return b"".join(map(self.root_after, numbers))
        return b"".join(packed(self.between(number)) for number in numbers)

    def between(self, position: int) -> list[int]:
        """The accumulators before a scalar step, as the worker has them."""
        scene = self.scene
        if position == scene.position:
            return list(scene.accumulators)
        if position == scene.position + 1:
            return self.claimed
        return words_of(accumulator_words(scene.kernel), "accumulators", position)

    def tree(self, game: Game) -> SparseTree:
        if game.tree is Tree.TRACE:
            return self.trace
        return self.end if game.tree is Tree.STATE else self.tensor.tree

    def below(self, tree: SparseTree, height: int, index: int, fanout: int) -> tuple[bytes, ...]:
        return tree.children(height, index, levels(height, fanout)) if height else ()

    def target(self, game: Game) -> int:
        """The number of the leaf to come to."""
        if game.tree is Tree.TRACE:
            return self.value
        return self.scene.element * self.scene.type.dtype.size // CHUNK

    def point_child(self, game: Game, fanout: int) -> PointChild:
        down = levels(game.height, fanout)
        children = self.below(self.tree(game), game.height, game.index, fanout) or (game.node,)
        child = self.target(game) >> (game.height - down) & ((1 << down) - 1)
        return PointChild(child, children[child], tuple(path(children, child)))

    def reveal_tensor(self, fanout: int) -> RevealTensor:
        number, tree = self.scene.kernel_number, self.tensor.tree
        children = self.below(tree, tree.height, 0, fanout)
        siblings = self.kernels.path(number)
        first = self.scene.first_value
        return RevealTensor(self.header, number, first, self.kernel_bytes, siblings, tree.root, children)

    # THE LEAF

    def witness(self) -> bytes:
        """The words that the scalar step loads, with what proves them."""
        scene = self.scene
        now = scalar_step(scene.kernel, scene.element, scene.position)
        values = witnessed_values(scene.kernel, now.work)
        if now.work is Work.START:
            return b"".join(self.entry(value, scene.element) for value in values)
        if not values:
            return b""
        words = SparseWords(scene.kernel, scene.tensors)
        code, indices, seen = environment(scene.kernel, scene.place, now, list(scene.accumulators))
        run_registers(code, StepEnvironment(indices, scene.place.step, words, seen))
        read = words.addresses
        return b"".join(
            self.entry(value, read[slot]) if slot in read else encode_nothing() for slot, value in enumerate(values)
        )

    def entry(self, value: int, element: int | None) -> bytes:
        """One entry of the witness."""
        tensor, siblings = self.scene.tensors[value], list(self.trace.path(value))
        if element is None:
            return encode_outside(tensor.type, tensor.tree.root, siblings)
        number = element * tensor.type.dtype.size // CHUNK
        return encode_word(tensor.type, element, tensor.chunk(number), list(tensor.tree.path(number)), siblings)


class InputCourse(Course):
    """The worker claims another state slot than the one before the step: an input of it is wrong."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.value = scene.size.states // 2
        self.trace = SparseTree(scene.size.values, digest_of("value"), {self.value: digest_of("another")})

    def answer(self, game: Game, fanout: int) -> Move:
        if game.phase is Phase.PROVE_INPUT:
            return ProveInput(self.start.node(0, self.value), self.start.path(self.value))
        return super().answer(game, fanout)


class SlotCourse(Course):
    """The worker claims a state after the step that was not gathered from its values."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.slot = scene.size.states // 2
        self.record = encode_tensor_type(TensorType(DType.F32, (1024, 1024)))
        bound = leaf(self.record + self.value.to_bytes(4, "little"))
        self.slots = SparseTree(scene.size.states + scene.size.constants, digest_of("slot"), {self.slot: bound})

    def target(self, game: Game) -> int:
        return self.slot if game.tree is Tree.STATE else super().target(game)

    def answer(self, game: Game, fanout: int) -> Move:
        if game.phase is Phase.POINT_TRACE:
            return PointGather()
        if game.phase is Phase.PROVE_SLOT:
            digest, trace_path = self.trace.node(0, self.value), self.trace.path(self.value)
            return ProveSlot(self.header, self.record, self.value, self.slots.path(self.slot), digest, trace_path)
        return super().answer(game, fanout)
