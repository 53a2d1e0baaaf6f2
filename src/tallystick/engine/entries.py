"""Kernels restricted to one entry of a batch.

The leading output axes of several kernels may number the same *entries*: the heads of every example in attention. A
kernel whose every point stays within its entry can be run for one entry at a time: it is a kernel without those axes,
given pointers to where the entry lies in its operands. Nothing of what a point computes changes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import prod

from tallystick.engine.nest import dense_strides
from tallystick.ir.ranges import open_range
from tallystick.spec.instructions import Code, Instruction, Op
from tallystick.spec.kernels import Kernel
from tallystick.spec.tensors import TensorType
from tallystick.spec.views import Address, Guard

Extents = tuple[int, ...]


class NotSeparable(Exception):
    """A kernel cannot be run entry by entry."""


class FinerEntries(Exception):
    """A kernel has the entries on more axes than was asked for: ``extents`` would suit it."""

    def __init__(self, extents: Extents) -> None:
        super().__init__(extents)
        self.extents = extents


@dataclass(frozen=True, slots=True)
class EntryKernel:
    """A kernel for one entry.

    ``kernel``   without the axes of the entries; it reads the values that the whole kernel does
    ``slots``    type of what each load sees of its value
    ``strides``  for every load, then every output: elements from one entry to the next, by axis of the entries
    """

    kernel: Kernel
    slots: tuple[TensorType, ...]
    strides: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """A piece of an output axis: neighbours are ``scale`` apart on the whole axis."""

    whole: int
    extent: int
    scale: int


def entry_kernel(kernel: Kernel, extents: Extents, types: Sequence[TensorType], local: Collection[int]) -> EntryKernel:
    """A kernel for one of ``prod(extents)`` entries. ``local`` are values of which it may see its own entry only.

    Raises: NotSeparable, FinerEntries.
    """
    if kernel.scatter is not None or (kernel.fold is not None and kernel.fold.scan):
        raise NotSeparable
    axes = _cut(kernel.out_shape, extents)
    count, rank = len(extents), len(kernel.out_shape)
    rest = axes[count:]
    places = _places(axes, count, rank, len(kernel.reduce_shape))

    def parts(strides: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """By axis of the entries, and by axis of an entry."""
        by_axis = [strides[axis.whole] * axis.scale for axis in axes]
        return tuple(by_axis[:count]), (*by_axis[count:], *strides[rank:])

    def inner(address: Address) -> Address:
        guards: list[Guard] = []
        for guard in address.guards:
            between, within = parts(guard.strides)
            if any(between):
                raise NotSeparable
            guards.append(replace(guard, strides=within))
        return replace(address, strides=parts(address.strides)[1], guards=tuple(guards))

    shape = tuple(axis.extent for axis in rest)
    made = tuple(stride * prod(shape) for stride in dense_strides(extents))
    loads = tuple(replace(view, address=inner(view.address)) for view in kernel.loads)
    strides = [parts(view.address.strides)[0] for view in kernel.loads]
    slots: list[TensorType] = []
    for view, between in zip(loads, strides, strict=True):
        type = types[view.value]
        if view.value in local:
            elements = type.elements // prod(extents)
            require_own_entry(view.address, between, shape + kernel.reduce_shape, extents, elements)
        else:
            if any(stride < 0 for stride in between) or (view.address.computed and any(between)):
                raise NotSeparable
            elements = type.elements - sum((e - 1) * s for e, s in zip(extents, between, strict=True))
            if elements < 1:  # nowhere open, so that an entry may begin anywhere: closed lanes read its element 0
                raise NotSeparable
        slots.append(TensorType(type.dtype, (elements,)))
    fold = kernel.fold
    if fold is not None:
        fold = replace(fold, epilogue=_renumbered(fold.epilogue, places))
    smaller = replace(kernel, out_shape=shape, loads=loads, body=_renumbered(kernel.body, places), fold=fold)
    return EntryKernel(smaller, tuple(slots), (*strides, *[made] * len(kernel.outputs)))


def _cut(shape: Extents, extents: Extents) -> list[_Axis]:
    """Output axes cut so that the first ones are those of the entries."""
    wanted = list(extents)
    axes: list[_Axis] = []
    for whole, extent in enumerate(shape):
        left = extent
        while wanted and left > 1:
            if left % wanted[0]:
                if wanted[0] % left:
                    raise NotSeparable
                done = len(extents) - len(wanted)
                raise FinerEntries((*extents[:done], left, wanted[0] // left, *extents[done + 1 :]))
            left //= wanted[0]
            axes.append(_Axis(whole, wanted.pop(0), left))
        if left > 1 or (extent == 1 and not wanted):
            axes.append(_Axis(whole, left, 1))
    if wanted:
        raise NotSeparable
    return axes


def _places(axes: Sequence[_Axis], count: int, rank: int, reduce_axes: int) -> dict[int, int]:
    """The number that an axis of the whole kernel has in an entry, for those that are no part of the entries."""
    places = {axis.whole: place for place, axis in enumerate(axes[count:])}
    for axis in axes[:count]:
        places.pop(axis.whole, None)
    within = len(axes) - count
    return places | {rank + number: within + number for number in range(reduce_axes)}


def require_own_entry(
    address: Address, between: tuple[int, ...], shape: Extents, extents: Extents, elements: int
) -> None:
    """Refuse a load that may see another entry than its own of a value with so many elements an entry."""
    if address.computed or between != tuple(stride * elements for stride in dense_strides(extents)):
        raise NotSeparable
    reached = open_range(address, shape)
    if reached is not None and not (reached[0] >= 0 and reached[1] < elements):
        raise NotSeparable


def _renumbered(code: Code, places: dict[int, int]) -> Code:
    """Code whose indices are numbered by the axes of an entry."""
    instructions: list[Instruction] = []
    for instruction in code.instructions:
        if instruction.op is Op.INDEX:
            if instruction.imm not in places:
                raise NotSeparable
            instruction = replace(instruction, imm=places[instruction.imm])
        instructions.append(instruction)
    return Code(tuple(instructions), code.results)
