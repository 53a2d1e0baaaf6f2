"""Contractions: folds that are a product of two tensors, recognised and read as a matrix product.

A contraction's body is ``acc = ffma(x, y, acc)`` where x and y are loads. Every output axis is of one of three kinds:

    rows     M   only one operand, called A, varies along it
    columns  N   only the other, B, does
    batch        both do, or neither

and the reduce axes together are the ``steps`` K. Each kind is flattened to one axis. A matrix product, a linear layer,
a convolution and both of its gradients are the same thing with different forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tallystick.engine.contraction_forms import Form
from tallystick.engine.nest import Nest
from tallystick.spec.instructions import Code, Op
from tallystick.spec.kernels import Fold
from tallystick.spec.tensors import DType
from tallystick.spec.views import Guard, View

FLOAT_DTYPES = frozenset({DType.F32, DType.BF16, DType.F16})
REACH = 1 << 31  # lanes count, address and guard with signed 32-bit numbers
LONGEST_CHAIN = 8192  # steps of a block, if there are several: a block is packed whole


@dataclass(frozen=True, slots=True)
class Group:
    """Axes of a kernel flattened to one, the last varying fastest. Axes of extent 1 are left out."""

    axes: tuple[int, ...]
    extents: tuple[int, ...]

    @property
    def size(self) -> int:
        return prod(self.extents)

    def form(self, strides: Sequence[int]) -> Form:
        """The part of an affine expression that this group contributes. ``strides``: one per axis of the kernel."""
        return Form.of(self.extents, [strides[axis] for axis in self.axes])


@dataclass(frozen=True, slots=True)
class Reach:
    """``base + batch(b) + panel(p) + steps(k)``, for a row or column p."""

    base: int
    batch: Form
    panel: Form
    steps: Form

    @property
    def parts(self) -> tuple[Form, Form, Form]:
        return self.batch, self.panel, self.steps

    @property
    def lowest(self) -> int:
        return self.base + sum(part.lowest for part in self.parts)

    @property
    def highest(self) -> int:
        return self.base + sum(part.highest for part in self.parts)


@dataclass(frozen=True, slots=True)
class Operand:
    """A or B: where its element for (batch, panel index, step) lies, and where it is closed."""

    slot: int
    dtype: DType
    address: Reach
    guards: tuple[tuple[Reach, int], ...]
    fill: int


@dataclass(frozen=True, slots=True)
class Contraction:
    """A fold as a matrix product ``C[b, m, n] = sum over k of A[b, m, k] * B[b, k, n]`` in the fold's order."""

    nest: Nest
    fold: Fold
    rows: Group
    columns: Group
    batch: Group
    steps: Group
    a: Operand
    b: Operand

    @property
    def block(self) -> int:
        """Steps in one chain of fused multiply-adds."""
        return min(self.fold.block, self.steps.size)


def match(nest: Nest) -> Contraction | None:
    """The kernel as a contraction, or None if it is not one."""
    kernel = nest.kernel
    fold = kernel.fold
    if fold is None or fold.scan or fold.lanes != 1 or fold.init != (0,) or not _adds(fold.merge):
        return None
    slots = _multiplied(kernel.body)
    if slots is None or any(kernel.loads[slot].address.computed for slot in slots):
        return None
    if any(nest.slots[slot].dtype not in FLOAT_DTYPES for slot in slots):
        return None
    x, y = (_varies(nest, kernel.loads[slot]) for slot in slots)
    outer = [axis for axis, extent in enumerate(nest.out_shape) if extent > 1]
    reduce_axes = range(len(nest.out_shape), len(nest.extents))

    def group(axes: Sequence[int]) -> Group:
        return Group(tuple(axes), tuple(nest.extents[axis] for axis in axes))

    only_x = group([axis for axis in outer if x[axis] and not y[axis]])
    only_y = group([axis for axis in outer if y[axis] and not x[axis]])
    batch = group([axis for axis in outer if x[axis] == y[axis]])
    steps = group([axis for axis in reduce_axes if nest.extents[axis] > 1])
    if only_x.size == 1 and only_y.size == 1:
        return None  # nothing is used twice
    if LONGEST_CHAIN < fold.block < steps.size or max(only_x.size, only_y.size, steps.size) >= REACH:
        return None
    if _contiguous_run(nest, only_x) > _contiguous_run(nest, only_y):
        slots, only_x, only_y = slots[::-1], only_y, only_x
    a = _operand(nest, slots[0], batch, only_x, steps)
    b = _operand(nest, slots[1], batch, only_y, steps)
    if a is None or b is None:
        return None
    return Contraction(nest, fold, only_x, only_y, batch, steps, a, b)


def _operand(nest: Nest, slot: int, batch: Group, panel: Group, steps: Group) -> Operand | None:
    """An operand's reach, or None if it is too far for lanes."""
    view = nest.kernel.loads[slot]

    def reach(base: int, strides: Sequence[int]) -> Reach:
        return Reach(base, batch.form(strides), panel.form(strides), steps.form(strides))

    address = reach(view.address.base, view.address.strides)
    guards = [(reach(guard.base, guard.strides), guard.limit) for guard in _closing(nest, view)]
    if any(max(abs(r.lowest), abs(r.highest)) >= REACH for r in (address, *(guard for guard, _ in guards))):
        return None
    # Lanes hold what of an address does not include its base.
    if max(abs(address.lowest - address.base), abs(address.highest - address.base)) >= REACH:
        return None
    # A limit above all that is compared with it may be lowered, so that 32 bits hold it.
    limits = tuple((guard, max(0, min(limit, guard.highest + 1))) for guard, limit in guards)
    return Operand(slot, nest.slots[slot].dtype, address, limits, view.fill)


def _closing(nest: Nest, view: View) -> list[Guard]:
    """Guards of a view that are not open everywhere."""

    def is_open(guard: Guard) -> bool:
        reach = [stride * (extent - 1) for stride, extent in zip(guard.strides, nest.extents, strict=True)]
        return (
            guard.base + sum(r for r in reach if r < 0) >= 0
            and guard.base + sum(r for r in reach if r > 0) < guard.limit
        )

    return [guard for guard in view.address.guards if not is_open(guard)]


def _adds(merge: Code) -> bool:
    """Whether a merge is the float sum of its two accumulators."""
    if len(merge.results) != 1:
        return False
    result = merge.instructions[merge.results[0]]
    if result.op != Op.FADD:
        return False
    operands = [merge.instructions[arg] for arg in result.args]
    return all(operand.op == Op.ACC for operand in operands) and {operand.imm for operand in operands} == {0, 1}


def _multiplied(body: Code) -> tuple[int, int] | None:
    """The load slots of a body that is one fused multiply-add of two loads to the accumulator."""
    if len(body.results) != 1:
        return None
    result = body.instructions[body.results[0]]
    if result.op != Op.FFMA:
        return None
    x, y, total = (body.instructions[arg] for arg in result.args)
    if x.op != Op.LOAD or y.op != Op.LOAD or total.op != Op.ACC:
        return None
    return x.imm, y.imm


def _varies(nest: Nest, view: View) -> list[bool]:
    """Along which axes a load may yield different words."""
    rows = [view.address.strides, *(guard.strides for guard in _closing(nest, view))]
    return [any(strides) for strides in zip(*rows, strict=True)]


def _contiguous_run(nest: Nest, group: Group) -> tuple[int, int]:
    """How many neighbours along a group are neighbours in the outputs, and how many there are in all."""
    form = group.form(nest.out_strides + (0,) * len(nest.reduce_shape))
    return (form.run if form.stride == 1 else 0), group.size
