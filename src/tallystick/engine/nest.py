"""Kernels as loop nests: axes that need no loop of their own are merged or dropped, meaning unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from tallystick.spec.instructions import Code, Op
from tallystick.spec.kernels import Kernel, Scatter
from tallystick.spec.tensors import TensorType
from tallystick.spec.views import Address, Guard, View


@dataclass(frozen=True, slots=True)
class Nest:
    """A kernel with as few axes as its addresses allow.

    ``kernel``      the kernel over the merged axes; output axes first, then reduce axes
    ``slots``       type of the value each load slot reads
    ``axis_place``  merged axis of every original axis, or None where its index is always 0
    """

    kernel: Kernel
    slots: tuple[TensorType, ...]
    axis_place: tuple[int | None, ...]

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.kernel.out_shape

    @property
    def reduce_shape(self) -> tuple[int, ...]:
        return self.kernel.reduce_shape

    @property
    def extents(self) -> tuple[int, ...]:
        return self.kernel.out_shape + self.kernel.reduce_shape

    @property
    def reduce_points(self) -> int:
        return prod(self.kernel.reduce_shape)

    @property
    def out_strides(self) -> tuple[int, ...]:
        """Element strides of a dense output over the output axes."""
        return dense_strides(self.kernel.out_shape)


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major element strides."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def make_nest(kernel: Kernel, slots: tuple[TensorType, ...]) -> Nest:
    """Merge axes of a kernel wherever every address walks the two as one, and drop those of one point."""
    rank = len(kernel.out_shape)
    extents = kernel.out_shape + kernel.reduce_shape
    strides = list(_all_strides(kernel))
    indexed = _indexed_axes(kernel)
    groups: list[list[int]] = []  # original axes of each merged axis
    for axis, extent in enumerate(extents):
        if extent == 1:
            continue
        if groups and (groups[-1][-1] < rank) == (axis < rank):
            last = groups[-1][-1]
            free = last not in indexed and axis not in indexed
            if free and all(s[last] == s[axis] * extent for s in strides):
                groups[-1].append(axis)
                continue
        groups.append([axis])
    out_groups = [group for group in groups if group[0] < rank]
    reduce_groups = [group for group in groups if group[0] >= rank]
    place: list[int | None] = [None] * len(extents)
    for number, group in enumerate(groups):
        for axis in group:
            place[axis] = number
    merged = _merge(kernel, groups, tuple(prod(extents[a] for a in g) for g in out_groups), reduce_groups)
    return Nest(merged, slots, tuple(place))


def _merge(
    kernel: Kernel, groups: list[list[int]], out_shape: tuple[int, ...], reduce_groups: list[list[int]]
) -> Kernel:
    extents = kernel.out_shape + kernel.reduce_shape
    keep = tuple(group[-1] for group in groups)

    def narrowed(address: Address) -> Address:
        guards = tuple(Guard(g.base, tuple(g.strides[a] for a in keep), g.limit) for g in address.guards)
        return replace(address, strides=tuple(address.strides[a] for a in keep), guards=guards)

    scatter: Scatter | None = None
    if kernel.scatter is not None:
        scatter = replace(kernel.scatter, address=narrowed(kernel.scatter.address))
    return replace(
        kernel,
        out_shape=out_shape,
        reduce_shape=tuple(prod(extents[a] for a in group) for group in reduce_groups),
        loads=tuple(View(view.value, narrowed(view.address), view.fill) for view in kernel.loads),
        scatter=scatter,
    )


def _all_strides(kernel: Kernel) -> Iterator[tuple[int, ...]]:
    addresses = [view.address for view in kernel.loads]
    if kernel.scatter is not None:
        addresses.append(kernel.scatter.address)
    for address in addresses:
        yield address.strides
        for guard in address.guards:
            yield guard.strides


def codes(kernel: Kernel) -> list[Code]:
    """Every code of a kernel that sees indices and loads."""
    return [kernel.body] if kernel.fold is None else [kernel.body, kernel.fold.epilogue]


def _indexed_axes(kernel: Kernel) -> frozenset[int]:
    return frozenset(i.imm for code in codes(kernel) for i in code.instructions if i.op == Op.INDEX)


def varying_registers(code: Code, nest: Nest, axes: frozenset[int], accumulators: bool = False) -> frozenset[int]:
    """Registers whose word may differ along the given merged axes (or, if asked, from one fold step to the next)."""
    varying: set[int] = set()
    for number, instruction in enumerate(code.instructions):
        match instruction.op:
            case Op.INDEX:
                varies = nest.axis_place[instruction.imm] in axes
            case Op.LOAD:
                address = nest.kernel.loads[instruction.imm].address
                strides = [address.strides, *(guard.strides for guard in address.guards)]
                varies = any(s[axis] != 0 for s in strides for axis in axes)
                varies = varies or any(register in varying for _, register in address.computed)
            case Op.ACC:
                varies = accumulators
            case _:
                varies = any(register in varying for register in instruction.args)
        if varies:
            varying.add(number)
    return frozenset(varying)
