"""Computing large tensors a second time where they are read again, instead of keeping them meanwhile.

Attention makes a number for every pair of positions, and backward reads it again long after forward. What it was made
from is far smaller, so it is cheaper to make it twice than to keep it for every layer. The copies are the very kernels
of the first time, so no bit of any state changes. Whether a tensor is made again depends on sizes only:

- it is large, and a multiple of what its copy reads (``EXPANSION``), in few instructions;
- between two readings other kernels make more than that: only the longest such gap of a tensor counts.

This runs after fusion has decided the kernels; nothing afterwards merges equal kernels again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import prod

from tallystick.capture.kernels.pruning import pruned, values_read, with_values
from tallystick.ir.accounting import kernel_work
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.views import View

MINIMUM_BYTES = 1 << 20  # smaller tensors are kept: they fit a cache
EXPANSION = 4  # how many times larger a tensor must be than what its copy reads
MAP_EXPANSION = 3  # the same if the copy only takes maps: weights stored as int8 with scales, say
WORK = 1024  # per element, at most
DISTANCE = 8  # kernels between two readings that are near
SMALL = 64  # a tensor so many times smaller is kept for a copy rather than made again for it
LONGEST = 8  # kernels that one copy takes


@dataclass(frozen=True, slots=True)
class Gap:
    """A tensor is read by kernel ``after`` and next by kernel ``before``; in between nobody needs it."""

    after: int
    before: int


def rematerialised(
    program: Program, sources: Sequence[str], minimum_bytes: int = MINIMUM_BYTES
) -> tuple[Program, list[str]]:
    """The program with large tensors made again after long gaps; unchanged if it has none. ``sources``: per kernel."""
    analysis = _Analysis(program, minimum_bytes)
    gaps = analysis.gaps()
    if not gaps:
        return program, list(sources)
    return pruned(*_with_copies(program, sources, analysis, gaps))


def _with_copies(
    program: Program, sources: Sequence[str], analysis: _Analysis, gaps: Mapping[int, Gap]
) -> tuple[Program, list[str]]:
    """Every copy stands directly before the kernel that reads it first."""
    wanted: dict[int, set[int]] = {}
    for value, gap in gaps.items():
        wanted.setdefault(gap.before, set()).update(analysis.recipe(value, gaps).kernels)
    numbers = list(range(analysis.given)) + [-1] * (len(analysis.types) - analysis.given)
    kernels: list[Kernel] = []
    lines: list[str] = []
    following = analysis.given
    for place, _ in enumerate(program.kernels):
        for number in (*sorted(wanted.get(place, ())), place):
            kernels.append(with_values(program.kernels[number], numbers))
            lines.append(sources[number])
            for output in analysis.outputs[number]:
                numbers[output] = following
                following += 1
    next_state = tuple(numbers[value] for value in program.next_state)
    return replace(program, kernels=tuple(kernels), next_state=next_state), lines


@dataclass(frozen=True, slots=True)
class _Recipe:
    """Kernels that make a value again, and how many bytes of values that are there they read."""

    kernels: frozenset[int]
    bytes_read: int


class _Analysis:
    """Who makes and reads the values of a program, and which are worth making again."""

    def __init__(self, program: Program, minimum_bytes: int) -> None:
        self.program, self.minimum_bytes = program, minimum_bytes
        self.types = program.value_types
        self.given = len(program.states) + len(program.constants)
        self.outputs: list[range] = []
        for kernel in program.kernels:
            first = self.outputs[-1].stop if self.outputs else self.given
            self.outputs.append(range(first, first + len(kernel.outputs)))
        self.maker = {value: number for number, values in enumerate(self.outputs) for value in values}
        self.uses: dict[int, list[int]] = {value: [number] for value, number in self.maker.items()}
        for number, kernel in enumerate(program.kernels):
            for value in set(values_read(kernel)) & self.uses.keys():
                self.uses[value].append(number)
        born = (sum(self.types[value].nbytes for value in values) for values in self.outputs)
        self.born_before = list(accumulate(born, initial=0))  # bytes made before each kernel

    def gaps(self) -> dict[int, Gap]:
        """The values to make again, and between which readings they are not kept."""
        gaps: dict[int, Gap] = {}
        for value in self.maker:
            if self.types[value].nbytes >= self.minimum_bytes and value not in self.program.next_state:
                gap = self._longest_gap(value)
                if gap is not None and self._is_worth(value, {value: gap}):  # if all others were kept
                    gaps[value] = gap
        while True:
            worth = {value: gap for value, gap in gaps.items() if self._is_worth(value, gaps)}
            aligned = self._aligned(worth)
            if aligned == gaps:
                return gaps
            gaps = aligned

    def _longest_gap(self, value: int) -> Gap | None:
        """The gap in which most bytes are made."""
        gaps = [Gap(a, b) for a, b in pairwise(self.uses[value]) if b - a > DISTANCE]
        return max(gaps, key=self._born_in, default=None)

    def _born_in(self, gap: Gap) -> int:
        return self.born_before[gap.before] - self.born_before[gap.after + 1]

    def _is_worth(self, value: int, gaps: Mapping[int, Gap]) -> bool:
        recipe = self.recipe(value, gaps)
        work = sum(kernel_work(self.program.kernels[number]) for number in recipe.kernels)
        maps = all(self.program.kernels[number].fold is None for number in recipe.kernels)
        return (
            len(recipe.kernels) <= LONGEST
            and work <= WORK * self.types[value].elements
            and self.types[value].nbytes >= (MAP_EXPANSION if maps else EXPANSION) * recipe.bytes_read
            and self._born_in(gaps[value]) >= recipe.bytes_read
        )

    def _aligned(self, gaps: Mapping[int, Gap]) -> dict[int, Gap]:
        """Gaps that end early enough for what one copy makes on the way to serve for another."""
        ends = {value: gap.before for value, gap in gaps.items()}
        for value, gap in gaps.items():
            for kernel in self.recipe(value, gaps).kernels:
                for other in self.outputs[kernel]:
                    if other in ends and gaps[other].after < gap.before:
                        ends[other] = min(ends[other], gap.before)
        return {value: Gap(gap.after, ends[value]) for value, gap in gaps.items()}

    def recipe(self, value: int, gaps: Mapping[int, Gap]) -> _Recipe:
        """How a value is made again at the end of its gap, if no value is there in its own."""
        place, enough = gaps[value].before, self.types[value].nbytes // SMALL
        kernels: set[int] = set()
        bytes_read = 0
        pending = [self.maker[value]]
        while pending and len(kernels) <= LONGEST:
            number = pending.pop()
            if number in kernels:
                continue
            kernels.add(number)
            kernel = self.program.kernels[number]
            for view in kernel.loads:
                if self._is_there(view.value, place, gaps) or self.types[view.value].nbytes <= enough:
                    bytes_read += self._bytes_touched(kernel, view)
                else:
                    pending.append(self.maker[view.value])
            if kernel.scatter is not None and kernel.scatter.base is not None:
                bytes_read += self.types[kernel.scatter.base].nbytes
        return _Recipe(frozenset(kernels), bytes_read)

    def _is_there(self, value: int, place: int, gaps: Mapping[int, Gap]) -> bool:
        """Whether somebody else keeps a value until kernel ``place``."""
        if value < self.given:
            return True
        gap = gaps.get(value)
        in_gap = gap is not None and gap.after < place <= gap.before
        return self.uses[value][-1] >= place and not in_gap

    def _bytes_touched(self, kernel: Kernel, view: View) -> int:
        """Of the value that a load reads: broadcast axes count once."""
        extents = kernel.out_shape + kernel.reduce_shape
        strides = view.address.strides
        varying: Collection[int] = [e for e, s in zip(extents, strides, strict=True) if s or view.address.computed]
        type = self.types[view.value]
        return min(prod(varying), type.elements) * type.dtype.size
