"""Choices that only change speed: vector widths, unrolling, estimates of time. Results never depend on them."""

from __future__ import annotations

from collections.abc import Iterable

from tallystick.engine.nest import Nest
from tallystick.engine.target import Target
from tallystick.spec.instructions import SOURCES, Code, Op

_SLOW = {Op.FDIV: 8.0, Op.FSQRT: 8.0, Op.IDIV: 4.0, Op.IREM: 4.0, Op.UMULHI: 3.0, Op.F2I: 3.0, Op.SELECT: 0.5}
_INSTRUCTION_NS = 0.3  # of one vector instruction
_CONTIGUOUS_NS = 0.1  # per element, between what caches and memory give
_GATHERED_NS = 1.0


def arithmetic_instructions(code: Code) -> int:
    """Instructions that compute something."""
    return sum(1 for instruction in code.instructions if instruction.op not in SOURCES)


def lane_stride(nest: Nest, slot: int, axis: int) -> int | None:
    """By how many elements a load moves from one point to the next along an axis; None if by a computed amount."""
    address = nest.kernel.loads[slot].address
    return None if address.computed else address.strides[axis]


def point_cost(nest: Nest, all_codes: Iterable[Code], axis: int | None, target: Target) -> float:
    """Estimated ns per point on one thread, if vectors lie along an axis (None: no vectors)."""
    lanes = target.lanes if axis is not None else 1
    total = 0.0
    for code in all_codes:
        for instruction in code.instructions:
            if instruction.op == Op.LOAD:
                stride = lane_stride(nest, instruction.imm, axis) if axis is not None else 1
                total += {0: _CONTIGUOUS_NS / 4, 1: _CONTIGUOUS_NS}.get(stride, _GATHERED_NS)  # pyright: ignore
            elif instruction.op not in SOURCES:
                factor = _SLOW.get(instruction.op, 1.0)
                if instruction.op == Op.FFMA and not target.has_fma:
                    factor = 20.0
                total += factor * _INSTRUCTION_NS / lanes
    return total


def store_cost(nest: Nest) -> float:
    """Estimated ns to store one output point."""
    return _CONTIGUOUS_NS * len(nest.kernel.outputs)


def vector_lanes(extent: int, instructions: int, target: Target) -> int:
    """Lanes of the vectors of a loop over ``extent`` points.

    Wider than a register unrolls: LLVM makes several instructions of each. Shorter rows get shorter vectors.
    """
    unroll = 4 if instructions <= 10 else 2 if instructions <= 40 else 1
    lanes = target.lanes * unroll
    while lanes > 1 and lanes // 2 >= extent:
        lanes //= 2
    while lanes > target.lanes and extent % lanes and extent < 4 * lanes:
        lanes //= 2
    return lanes


def tail_by_mask(nest: Nest, target: Target) -> bool:
    """Whether what is left of a row is one masked vector (else a scalar loop)."""
    if target.isa == "avx512":
        return True
    dtypes = [type.dtype for type in nest.slots] + list(nest.kernel.outputs)
    return target.has_masked_memory and all(dtype.size == 4 for dtype in dtypes)
