"""Kernels: maps, folds, scans and scatters over strided views, and what each of them means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Protocol

from tallystick.spec.instructions import Code, execute, run_registers
from tallystick.spec.tensors import DType, Tensor, TensorType
from tallystick.spec.views import Address, View, locate


@dataclass(frozen=True, slots=True)
class Fold:
    """How the words of a reduction combine. The order is part of the meaning: float addition is not associative.

    ``init``      one word per accumulator, the start of every lane
    ``lanes``     L, a power of two: step t of a block updates lane t mod L
    ``block``     B, a multiple of L: reduce points are cut into blocks of B
    ``merge``     accumulators 0..n-1 are the left operand, n..2n-1 the right; yields n words
    ``epilogue``  reads the total as accumulators; yields one word per output
    ``scan``      store after every step instead of once (L = 1, one block, one reduce axis)
    """

    init: tuple[int, ...]
    lanes: int
    block: int
    merge: Code
    epilogue: Code
    scan: bool = False


@dataclass(frozen=True, slots=True)
class Scatter:
    """Where the words of a scatter go. Its loop runs over source points in row-major order.

    ``shape``    of the output
    ``base``     the value the output starts as a copy of, or None for every element ``fill``
    ``address``  of the element a source point writes; a closed address drops the word
    ``merge``    accumulator 0 is the element, 1 the word; None overwrites
    """

    shape: tuple[int, ...]
    base: int | None
    fill: int
    address: Address
    merge: Code | None


@dataclass(frozen=True, slots=True)
class Kernel:
    """One map (neither fold nor scatter), fold or scatter.

    ``body`` yields one word per output (map), the new accumulators (fold) or the word to place (scatter).
    ``outputs`` are storage types; each output is a new dense row-major value.
    """

    out_shape: tuple[int, ...]
    reduce_shape: tuple[int, ...]
    loads: tuple[View, ...]
    body: Code
    outputs: tuple[DType, ...]
    fold: Fold | None = None
    scatter: Scatter | None = None

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        """Types of the values this kernel makes."""
        shape = self.out_shape
        if self.scatter is not None:
            shape = self.scatter.shape
        elif self.fold is not None and self.fold.scan:
            shape = self.out_shape + self.reduce_shape
        return tuple(TensorType(dtype, shape) for dtype in self.outputs)


def run_kernel(kernel: Kernel, values: Sequence[Tensor], step: int) -> list[Tensor]:
    """The values a kernel makes from the values before it."""
    outputs, words = [Tensor(type) for type in kernel.output_types], TensorWords(kernel, values)
    if kernel.scatter is not None:
        run_scatter(kernel, kernel.scatter, values, step, outputs[0])
        return outputs
    for o, out_indices in enumerate(points(kernel.out_shape)):
        if kernel.fold is None:
            env = StepEnvironment(out_indices, step, words)
            store_all(outputs, o, execute(kernel.body, env))
        elif kernel.fold.scan:
            run_scan(kernel, kernel.fold, values, step, o, out_indices, outputs)
        else:
            total = fold_element(kernel, kernel.fold, values, step, out_indices)
            env = StepEnvironment(out_indices + (0,) * len(kernel.reduce_shape), step, words, total)
            store_all(outputs, o, execute(kernel.fold.epilogue, env))
    return outputs


def fold_element(
    kernel: Kernel, fold: Fold, values: Sequence[Tensor], step: int, out_indices: tuple[int, ...]
) -> list[int]:
    """The total of one output element: blocks in order, lanes within a block, a pairwise merge at each block's end."""
    reduce_points, words = list(points(kernel.reduce_shape)), TensorWords(kernel, values)
    total: list[int] | None = None
    for start in range(0, len(reduce_points), fold.block):
        # UPDATE
        lanes = [list(fold.init) for _ in range(fold.lanes)]
        for t, reduce_indices in enumerate(reduce_points[start : start + fold.block]):
            env = StepEnvironment(out_indices + reduce_indices, step, words, lanes[t % fold.lanes])
            lanes[t % fold.lanes] = execute(kernel.body, env)
        # MERGE LANES
        half = fold.lanes // 2
        while half:
            for lane in range(half):
                lanes[lane] = merge(fold.merge, lanes[lane], lanes[lane + half], step)
            half //= 2
        # MERGE BLOCK
        total = lanes[0] if total is None else merge(fold.merge, total, lanes[0], step)
    assert total is not None, "a fold has at least one reduce point"
    return total


def run_scan(
    kernel: Kernel,
    fold: Fold,
    values: Sequence[Tensor],
    step: int,
    o: int,
    out_indices: tuple[int, ...],
    outputs: list[Tensor],
) -> None:
    """One accumulator walks the reduce axis; the epilogue's words are stored after every step."""
    accumulators, words = list(fold.init), TensorWords(kernel, values)
    length = prod(kernel.reduce_shape)
    for t, reduce_indices in enumerate(points(kernel.reduce_shape)):
        indices = out_indices + reduce_indices
        accumulators = execute(kernel.body, StepEnvironment(indices, step, words, accumulators))
        stored = execute(fold.epilogue, StepEnvironment(indices, step, words, accumulators))
        store_all(outputs, o * length + t, stored)


def run_scatter(kernel: Kernel, scatter: Scatter, values: Sequence[Tensor], step: int, output: Tensor) -> None:
    """Source points in ascending order, each placing one word."""
    words = TensorWords(kernel, values)
    for element in range(output.type.elements):
        output.store(element, scatter.fill if scatter.base is None else values[scatter.base].load(element))
    for indices in points(kernel.out_shape):
        registers = run_registers(kernel.body, StepEnvironment(indices, step, words))
        word = registers[kernel.body.results[0]]
        at = locate(scatter.address, indices, registers, output.type.elements)
        if at is None:
            continue
        if scatter.merge is not None:
            (word,) = merge(scatter.merge, [output.load(at)], [word], step)
        output.store(at, word)


def merge(code: Code, left: list[int], right: list[int], step: int) -> list[int]:
    """Combine two sets of accumulators."""
    return execute(code, MergeEnvironment(left + right, step))


def store_all(outputs: list[Tensor], at: int, words: list[int]) -> None:
    for output, word in zip(outputs, words, strict=True):
        output.store(at, word)


def points(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All index tuples of a shape in row-major order."""
    return product(*(range(extent) for extent in shape))


class Words(Protocol):
    """Where the words come from that codes load."""

    def load(self, slot: int, indices: tuple[int, ...], registers: list[int]) -> int:
        """The word of a load slot."""
        ...

    def base(self, element: int) -> int:
        """The word of an element of a scatter's base."""
        ...


class TensorWords:
    """Words out of whole tensors."""

    def __init__(self, kernel: Kernel, values: Sequence[Tensor]) -> None:
        self.kernel = kernel
        self.values = values

    def load(self, slot: int, indices: tuple[int, ...], registers: list[int]) -> int:
        view = self.kernel.loads[slot]
        value = self.values[view.value]
        at = locate(view.address, indices, registers, value.type.elements)
        return view.fill if at is None else value.load(at)

    def base(self, element: int) -> int:
        assert self.kernel.scatter is not None and self.kernel.scatter.base is not None
        return self.values[self.kernel.scatter.base].load(element)


class StepEnvironment:
    """What a body or an epilogue sees at one point of its kernel's loops."""

    __slots__ = ("accumulators", "indices", "step", "words")

    def __init__(self, indices: tuple[int, ...], step: int, words: Words, accumulators: Sequence[int] = ()) -> None:
        self.indices = indices
        self.step = step
        self.words = words
        self.accumulators = accumulators

    def index(self, axis: int) -> int:
        return self.indices[axis]

    def accumulator(self, number: int) -> int:
        return self.accumulators[number]

    def load(self, slot: int, registers: list[int]) -> int:
        return self.words.load(slot, self.indices, registers)


class MergeEnvironment:
    """What a merge sees: accumulators and the step number, no indices and no loads."""

    __slots__ = ("accumulators", "step")

    def __init__(self, accumulators: Sequence[int], step: int) -> None:
        self.accumulators = accumulators
        self.step = step

    def accumulator(self, number: int) -> int:
        return self.accumulators[number]

    def index(self, axis: int) -> int:
        raise AssertionError("a merge has no loop indices")

    def load(self, slot: int, registers: list[int]) -> int:
        raise AssertionError("a merge loads nothing")
