"""Which kernels read which values, where new state lands, and which kernels may update a value in place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tallystick.engine.nest import dense_strides
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import TensorType
from tallystick.spec.views import View


@dataclass(frozen=True)
class Dataflow:
    """A program's values and who makes and reads them. Kernels and values go by their numbers."""

    program: Program

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
        """The kernel that makes each value."""
        return {value: kernel for kernel, values in enumerate(self.outputs) for value in values}

    @cached_property
    def reads(self) -> tuple[frozenset[int], ...]:
        """Values that each kernel reads."""
        return tuple(reads_of(kernel) for kernel in self.program.kernels)

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
        if any(reader > kernel for reader in self.readers.get(slot, [])):
            return False
        return may_overwrite(self.program.kernels[kernel], value - self.outputs[kernel].start, slot, self.types)


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


def may_overwrite(kernel: Kernel, output: int, value: int, types: tuple[TensorType, ...]) -> bool:
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
