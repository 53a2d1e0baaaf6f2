"""Which kernels read which values, where new state lands, and which kernels may update a value in place.

Kernels that run together, entry by entry, form a *group*. The first one stands for all of them: it reads and makes what
the group reads and makes, and the others do nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tallystick.engine.nest import dense_strides
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import TensorType
from tallystick.spec.views import View

Types = Sequence[TensorType] | Mapping[int, TensorType]  # by number of value


@dataclass(frozen=True, slots=True)
class Group:
    """Kernels that are run together for each entry of a batch, one after the other.

    ``extents``   axes of the entries
    ``kernels``   ascending
    ``inner``     values that only these kernels see; they exist for one entry at a time
    ``operands``  the other values that they read or make
    """

    extents: tuple[int, ...]
    kernels: tuple[int, ...]
    inner: tuple[int, ...]
    operands: tuple[int, ...]

    @property
    def head(self) -> int:
        """The kernel that stands for the group."""
        return self.kernels[0]


@dataclass(frozen=True)
class Dataflow:
    """A program's values and who makes and reads them. Kernels and values go by their numbers."""

    program: Program
    groups: tuple[Group, ...] = ()

    @cached_property
    def types(self) -> tuple[TensorType, ...]:
        return self.program.value_types

    @cached_property
    def states(self) -> int:
        """Values below this are state slots."""
        return len(self.program.states)

    @cached_property
    def given(self) -> int:
        """Values below this are given before a step; the others are made by kernels."""
        return len(self.program.states) + len(self.program.constants)

    @cached_property
    def group_of(self) -> dict[int, Group]:
        """The group of every kernel that is in one."""
        return {kernel: group for group in self.groups for kernel in group.kernels}

    @cached_property
    def inner(self) -> frozenset[int]:
        """Values that exist inside of a group only."""
        return frozenset(value for group in self.groups for value in group.inner)

    def head(self, kernel: int) -> int:
        """The kernel that stands for this one."""
        return self.group_of[kernel].head if kernel in self.group_of else kernel

    @cached_property
    def outputs(self) -> tuple[range, ...]:
        """Values that each kernel makes."""
        ranges: list[range] = []
        first = self.given
        for kernel in self.program.kernels:
            ranges.append(range(first, first + len(kernel.outputs)))
            first += len(kernel.outputs)
        return tuple(ranges)

    @cached_property
    def maker(self) -> dict[int, int]:
        """The kernel that makes each value, or stands for the one that does."""
        return {value: self.head(kernel) for kernel, values in enumerate(self.outputs) for value in values}

    @cached_property
    def reads(self) -> tuple[frozenset[int], ...]:
        """Values that each kernel reads; the first of a group those that come from outside of it."""
        reads = [reads_of(kernel) for kernel in self.program.kernels]
        for group in self.groups:
            own = {value for kernel in group.kernels for value in self.outputs[kernel]}
            outside = frozenset(value for kernel in group.kernels for value in reads[kernel]) - own
            for kernel in group.kernels:
                reads[kernel] = outside if kernel == group.head else frozenset()
        return tuple(reads)

    @cached_property
    def readers(self) -> dict[int, list[int]]:
        """Kernels that read each value, ascending."""
        readers: dict[int, list[int]] = {}
        for kernel, values in enumerate(self.reads):
            for value in values:
                readers.setdefault(value, []).append(kernel)
        return readers

    @cached_property
    def landing(self) -> tuple[Landing, ...]:
        """How every state slot gets its next value."""
        taken: set[int] = set()
        landings: list[Landing] = []
        for slot, value in enumerate(self.program.next_state):
            if value == slot:
                landings.append(Landing(value, kept=True))
            elif value < self.given or value in taken:
                landings.append(Landing(value, copied=True))
            else:
                taken.add(value)
                landings.append(Landing(value, in_place=self._slot_in_place(slot, value)))
        return tuple(landings)

    def _slot_in_place(self, slot: int, value: int) -> bool:
        """Whether the kernel that makes a slot's next value may write over the old one: nobody needs it later."""
        kernel = self.maker[value]
        if any(other != slot and next == slot for other, next in enumerate(self.program.next_state)):
            return False
        if kernel in self.group_of or any(self._last(reader) > kernel for reader in self.readers.get(slot, [])):
            return False
        return may_overwrite(self.program.kernels[kernel], value - self.outputs[kernel].start, slot, self.types)

    def _last(self, kernel: int) -> int:
        """The last of the kernels that this one stands for."""
        return self.group_of[kernel].kernels[-1] if kernel in self.group_of else kernel

    @cached_property
    def waits_for(self) -> tuple[frozenset[int], ...]:
        """Kernels that must be done before each kernel: makers of what it reads, readers of what it writes over."""
        before = [{self.maker[v] for v in values if v in self.maker} for values in self.reads]
        for slot, landing in enumerate(self.landing):
            if landing.in_place:
                kernel = self.maker[landing.value]
                before[kernel].update(reader for reader in self.readers.get(slot, []) if reader != kernel)
        return tuple(frozenset(kernels) for kernels in before)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Kernels, each after those it waits for, otherwise by number. Those that another stands for are left out; so
        are those that wait for each other in a circle, which groups may not bring about.
        """
        standing = [kernel for kernel in range(len(self.program.kernels)) if self.head(kernel) == kernel]
        left = {kernel: len(self.waits_for[kernel]) for kernel in standing}
        followers: dict[int, list[int]] = {}
        for kernel in standing:
            for other in self.waits_for[kernel]:
                followers.setdefault(other, []).append(kernel)
        ready = [kernel for kernel in standing if not left[kernel]]
        order: list[int] = []
        while ready:
            kernel = heapq.heappop(ready)
            order.append(kernel)
            for follower in followers.get(kernel, ()):
                left[follower] -= 1
                if not left[follower]:
                    heapq.heappush(ready, follower)
        return tuple(order)


@dataclass(frozen=True, slots=True)
class Landing:
    """How a state slot gets its next value: it is the old one (kept), is copied in at the end of the step, is written
    over the old one (in place), or, if none of these, is written to the slot's second buffer.
    """

    value: int
    kept: bool = False
    copied: bool = False
    in_place: bool = False

    @property
    def alternates(self) -> bool:
        """Whether the slot has two buffers."""
        return not self.kept and not self.in_place


def reads_of(kernel: Kernel) -> frozenset[int]:
    """Values a kernel reads."""
    values = {view.value for view in kernel.loads}
    if kernel.scatter is not None and kernel.scatter.base is not None:
        values.add(kernel.scatter.base)
    return frozenset(values)


def may_overwrite(kernel: Kernel, output: int, value: int, types: Types) -> bool:
    """Whether an output may be the buffer of a value the kernel reads, if nobody else needs that value any more."""
    if kernel.output_types[output] != types[value] and kernel.scatter is not None:
        return False
    reading = [view for view in kernel.loads if view.value == value]
    if kernel.scatter is not None:
        return kernel.scatter.base == value and not reading
    if kernel.fold is not None or kernel.outputs[output] != types[value].dtype:
        return False
    return bool(reading) and all(reads_own_element(view, kernel.out_shape, types[value].elements) for view in reading)


def reads_own_element(view: View, out_shape: tuple[int, ...], elements: int) -> bool:
    """Whether a load of a map reads, at every point, the element at the place that the point's output has."""
    address = view.address
    if address.base or address.guards or address.computed:
        return False
    dense = dense_strides(out_shape)
    points = 1
    for stride, own, extent in zip(address.strides, dense, out_shape, strict=True):
        points *= extent
        if extent > 1 and stride != own:
            return False
    return points == elements
