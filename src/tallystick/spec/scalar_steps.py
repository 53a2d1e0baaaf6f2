"""One element of a kernel's output as a sequence of scalar steps: what a dispute bisects down to one.

Between two scalar steps stand *accumulators*, a fixed number of words for each kernel:

    map      none
    fold     those of every lane, lane 0 first, then those of the total (zeros before the first block is merged)
    scan     those of its one lane
    scatter  the element itself, as a load would read it (zero before its start value is read)

and the steps of an element are, in order:

    map      STORE
    fold     for every block: UPDATE each reduce point, MERGE LANES pairwise, MERGE BLOCK into the total; then STORE
    scan     UPDATE each reduce point up to the element's own, then STORE
    scatter  START from base or fill, PLACE every source point, then STORE

STORE yields one word, the bits of the element. This is ``kernels.run_kernel`` for one element, cut into pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import prod

from tallystick.spec.instructions import Code, execute, run_registers
from tallystick.spec.kernels import Fold, Kernel, StepEnvironment, Words, merge
from tallystick.spec.tensors import DType, narrow, widen
from tallystick.spec.views import locate


class Work(IntEnum):
    """What a scalar step does."""

    START = 0
    UPDATE = 1
    MERGE_LANES = 2
    MERGE_BLOCK = 3
    PLACE = 4
    STORE = 5


@dataclass(frozen=True, slots=True)
class ScalarStep:
    """One scalar step of one element.

    ``point``  number of the reduce point (UPDATE) or source point (PLACE)
    ``left``   the lane that is updated or merged into
    ``right``  MERGE LANES: the lane that is merged; MERGE BLOCK: 1 if there is a total already
    """

    work: Work
    point: int = 0
    left: int = 0
    right: int = 0


# THE SEQUENCE


def scalar_steps(kernel: Kernel, element: int) -> int:
    """How many scalar steps an element of an output takes."""
    if kernel.scatter is not None:
        return prod(kernel.out_shape) + 2
    if kernel.fold is None:
        return 1
    points = prod(kernel.reduce_shape)
    if kernel.fold.scan:
        return element % points + 2
    blocks = -(-points // kernel.fold.block)
    return points + blocks * kernel.fold.lanes + 1


def scalar_step(kernel: Kernel, element: int, position: int) -> ScalarStep:
    """Step number ``position`` of an element, counted from 0."""
    steps = scalar_steps(kernel, element)
    assert 0 <= position < steps
    if position == steps - 1:
        return ScalarStep(Work.STORE)
    if kernel.scatter is not None:
        return ScalarStep(Work.START) if position == 0 else ScalarStep(Work.PLACE, point=position - 1)
    assert kernel.fold is not None, "the only step of a map is its last"
    if kernel.fold.scan:
        return ScalarStep(Work.UPDATE, point=position)
    return fold_step(kernel.fold, prod(kernel.reduce_shape), position)


def fold_step(fold: Fold, points: int, position: int) -> ScalarStep:
    """A step of a fold that is not its last: within its block an update, a merge of lanes, or the block's end."""
    block, offset = divmod(position, fold.block + fold.lanes)
    size = min(fold.block, points - block * fold.block)
    if offset < size:
        return ScalarStep(Work.UPDATE, point=block * fold.block + offset, left=offset % fold.lanes)
    number, half = offset - size, fold.lanes // 2
    while half and number >= half:
        number, half = number - half, half // 2
    if half:
        return ScalarStep(Work.MERGE_LANES, left=number, right=number + half)
    return ScalarStep(Work.MERGE_BLOCK, right=int(block > 0))


def accumulator_words(kernel: Kernel) -> int:
    """How many words stand between two scalar steps."""
    if kernel.scatter is not None:
        return 1
    if kernel.fold is None:
        return 0
    return len(kernel.fold.init) * (1 if kernel.fold.scan else kernel.fold.lanes + 1)


def first_accumulators(kernel: Kernel) -> list[int]:
    """The words before the first scalar step."""
    if kernel.scatter is not None:
        return [0]
    if kernel.fold is None:
        return []
    if kernel.fold.scan:
        return list(kernel.fold.init)
    return list(kernel.fold.init) * kernel.fold.lanes + [0] * len(kernel.fold.init)


# ONE STEP


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scalar step is: the output, the element in it, and the number of the program's step."""

    output: int
    element: int
    step: int


def run_scalar_step(kernel: Kernel, place: Place, position: int, accumulators: list[int], words: Words) -> list[int]:
    """The accumulators after a scalar step, or, after STORE, the bits of the element."""
    now = scalar_step(kernel, place.element, position)
    match now.work:
        case Work.START:
            return start(kernel, place, words)
        case Work.UPDATE:
            return update(kernel, place, now, accumulators, words)
        case Work.MERGE_LANES | Work.MERGE_BLOCK:
            return merge_step(kernel, place, now, accumulators)
        case Work.PLACE:
            return [place_point(kernel, place, now, accumulators[0], words)]
        case Work.STORE:
            return [store(kernel, place, accumulators, words)]


def start(kernel: Kernel, place: Place, words: Words) -> list[int]:
    """The value a scatter's element starts with, as it reads once it is stored."""
    assert kernel.scatter is not None
    word = kernel.scatter.fill if kernel.scatter.base is None else words.base(place.element)
    return [stored(kernel.outputs[0], word)]


def update(kernel: Kernel, place: Place, now: ScalarStep, accumulators: list[int], words: Words) -> list[int]:
    """One reduce point into its lane."""
    assert kernel.fold is not None
    count = len(kernel.fold.init)
    lane = slice(now.left * count, (now.left + 1) * count)
    indices = out_indices(kernel, place.element) + unravel(now.point, kernel.reduce_shape)
    after = list(accumulators)
    after[lane] = execute(kernel.body, StepEnvironment(indices, place.step, words, accumulators[lane]))
    return after


def merge_step(kernel: Kernel, place: Place, now: ScalarStep, accumulators: list[int]) -> list[int]:
    """Two lanes into one; or lane 0 into the total, and the lanes back to their start."""
    assert kernel.fold is not None
    fold, count = kernel.fold, len(kernel.fold.init)
    after = list(accumulators)
    left, right = (accumulators[lane * count : (lane + 1) * count] for lane in (now.left, now.right))
    if now.work is Work.MERGE_LANES:
        after[now.left * count : (now.left + 1) * count] = merge(fold.merge, left, right, place.step)
        return after
    total, value = accumulators[-count:], accumulators[:count]
    total = merge(fold.merge, total, value, place.step) if now.right else value
    return list(fold.init) * fold.lanes + total


def place_point(kernel: Kernel, place: Place, now: ScalarStep, word: int, words: Words) -> int:
    """One source point of a scatter: the element changes if the point's address is its own."""
    scatter = kernel.scatter
    assert scatter is not None
    indices = unravel(now.point, kernel.out_shape)
    registers = run_registers(kernel.body, StepEnvironment(indices, place.step, words))
    if locate(scatter.address, indices, registers, prod(scatter.shape)) != place.element:
        return word
    placed = registers[kernel.body.results[0]]
    if scatter.merge is not None:
        (placed,) = merge(scatter.merge, [word], [placed], place.step)
    return stored(kernel.outputs[0], placed)


def store(kernel: Kernel, place: Place, accumulators: list[int], words: Words) -> int:
    """The bits of the element."""
    dtype = kernel.outputs[place.output]
    if kernel.scatter is not None:
        return narrow(dtype, accumulators[0])
    code, total = store_code(kernel), accumulators
    if kernel.fold is not None and not kernel.fold.scan:
        total = accumulators[-len(kernel.fold.init) :]
    indices = store_indices(kernel, place.element)
    return narrow(dtype, execute(code, StepEnvironment(indices, place.step, words, total))[place.output])


def store_code(kernel: Kernel) -> Code:
    """What yields the words that are stored: a map's body, or an epilogue."""
    return kernel.body if kernel.fold is None else kernel.fold.epilogue


# INDICES


def store_indices(kernel: Kernel, element: int) -> tuple[int, ...]:
    """The loop indices at which an element is stored: reduce indices are zero but in a scan."""
    if kernel.fold is not None and kernel.fold.scan:
        return out_indices(kernel, element) + unravel(element % prod(kernel.reduce_shape), kernel.reduce_shape)
    return out_indices(kernel, element) + (0,) * len(kernel.reduce_shape)


def out_indices(kernel: Kernel, element: int) -> tuple[int, ...]:
    """The indices over the output axes that an element belongs to."""
    if kernel.fold is not None and kernel.fold.scan:
        element //= prod(kernel.reduce_shape)
    return unravel(element, kernel.out_shape)


def unravel(number: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index tuple with a row-major number."""
    indices: list[int] = []
    for extent in reversed(shape):
        number, index = divmod(number, extent)
        indices.append(index)
    return tuple(reversed(indices))


def stored(dtype: DType, word: int) -> int:
    """A word after it was stored and loaded again."""
    return widen(dtype, narrow(dtype, word))
