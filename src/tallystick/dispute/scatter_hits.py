"""Which source points of a scatter write one element, without executing millions of points one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tallystick.dispute.computation import Computation
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.scalar_steps import Place
from tallystick.spec.tensors import DType, TensorType


def scatter_hits(
    kernel: Kernel, place: Place, types: Sequence[TensorType], values: Sequence[np.ndarray], computation: Computation
) -> np.ndarray:
    """The numbers of the source points whose address is the element, ascending."""
    assert kernel.scatter is not None
    address = kernel.scatter.address
    at = affine_grid(address.base, address.strides, kernel.out_shape)
    if address.computed:
        registers = computed_registers(kernel, place, types, values, computation)
        for (stride, _), register in zip(address.computed, registers, strict=True):
            at = at + stride * register.astype(np.int64)
    hit = at == place.element
    for guard in address.guards:
        inside = affine_grid(guard.base, guard.strides, kernel.out_shape)
        hit = hit & (inside >= 0) & (inside < guard.limit)
    return np.flatnonzero(np.broadcast_to(hit, kernel.out_shape).reshape(-1))


def affine_grid(base: int, strides: Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
    """base + sum(strides * indices) at every point, broadcastable to ``shape``. A valid program keeps it in 64 bits."""
    total = np.full((1,) * len(shape), base, np.int64)
    for axis, (stride, extent) in enumerate(zip(strides, shape, strict=True)):
        if stride:
            line = stride * np.arange(extent, dtype=np.int64)
            total = total + line.reshape([-1 if other == axis else 1 for other in range(len(shape))])
    return total


def computed_registers(
    kernel: Kernel, place: Place, types: Sequence[TensorType], values: Sequence[np.ndarray], computation: Computation
) -> list[np.ndarray]:
    """The registers a scatter's address adds, at every source point: a program of their own computes them."""
    assert kernel.scatter is not None
    wanted: list[int] = [register for _, register in kernel.scatter.address.computed]
    needed = sorted({view.value for view in kernel.loads})
    renumbered = tuple(replace(view, value=needed.index(view.value)) for view in kernel.loads)
    body = replace(kernel.body, results=tuple(wanted))
    registers = Kernel(kernel.out_shape, (), renumbered, body, (DType.I32,) * len(wanted))
    program = Program((), tuple(types[value] for value in needed), (registers,), ())
    made = computation.evaluate(program, [values[value] for value in needed], place.step)
    return made[len(needed) :]
