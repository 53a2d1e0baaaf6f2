"""From the expressions of an evaluated cluster to a kernel of the intermediate representation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from tallystick.capture.dtypes import FLOATS
from tallystick.capture.kernels.evaluation import Evaluation
from tallystick.capture.kernels.inlining import NotFusable
from tallystick.capture.tensors.affine import Affine, Bound, Scalar
from tallystick.capture.tensors.axes import Axes, split_axes
from tallystick.capture.tensors.graph import Flat, TensorGraph
from tallystick.capture.tensors.scalars import Read
from tallystick.ir.builder import CodeBuilder, Register
from tallystick.spec import limits
from tallystick.spec import views as spec_views
from tallystick.spec.instructions import Code, Op
from tallystick.spec.kernels import Fold, Kernel, Scatter
from tallystick.spec.tensors import DType


@dataclass(frozen=True, slots=True)
class Slot:
    """A load before its computed terms have register numbers in finished code."""

    value: int
    base: int
    strides: tuple[int, ...]
    computed: tuple[tuple[int, Scalar], ...]
    guards: tuple[spec_views.Guard, ...]
    fill: int


@dataclass(slots=True)
class Assembler:
    """Writes the codes of one kernel; all of them share the kernel's load slots.

    ``joined`` lists, for every axis of the finished kernel, the axes of the evaluation it is made of.
    ``values`` gives the value number of every stored node.
    """

    graph: TensorGraph
    joined: Sequence[Sequence[int]]
    extents: Axes
    values: Mapping[int, int]
    loads: list[spec_views.View] = field(default_factory=list)

    def code(self, roots: Sequence[Scalar], addresses: Sequence[Affine] = ()) -> tuple[Code, dict[Scalar, Register]]:
        """Finished code for expressions, and the registers of scalars that ``addresses`` compute with."""
        scalars = self.graph.scalars
        builder = CodeBuilder()
        place: dict[Scalar, Register] = {}
        slots: list[Slot] = []
        wanted = [*roots, *(scalar for form in addresses for _, scalar in form.computed)]
        for number in scalars.closure(wanted):
            instruction = scalars.instructions[number]
            form, read = scalars.form_of(number), scalars.read_of(number)
            if form is not None:
                place[number] = self._index(builder, form)
            elif read is not None:
                place[number] = builder.load(len(self.loads) + len(slots))
                slots.append(self._slot(read))
            elif instruction.op in (Op.CONST, Op.ACC, Op.STEP):
                place[number] = builder.emit(instruction.op, imm=instruction.imm)
            else:
                place[number] = builder.emit(instruction.op, *(place[arg] for arg in instruction.args))
        keep = {place[scalar] for slot in slots for _, scalar in slot.computed}
        keep |= {place[scalar] for form in addresses for _, scalar in form.computed}
        code, finished = builder.build(*(place[root] for root in roots), keep=tuple(sorted(keep)))
        for slot in slots:
            computed = tuple((stride, finished[place[scalar]]) for stride, scalar in slot.computed)
            address = spec_views.Address(slot.base, slot.strides, computed, slot.guards)
            self.loads.append(spec_views.View(slot.value, address, slot.fill))
        return code, {scalar: finished[register] for scalar, register in place.items() if register in finished}

    def address(
        self, form: Affine, bounds: Sequence[Bound], registers: Mapping[Scalar, Register]
    ) -> spec_views.Address:
        """The address of a scatter."""
        plain, computed = self._address(form)
        guards = tuple(self._guard(bound) for bound in bounds)
        return spec_views.Address(form.base, plain, tuple((s, registers[scalar]) for s, scalar in computed), guards)

    def _slot(self, read: Read) -> Slot:
        node = self.graph.nodes[read.node]
        target = node.kind.node if isinstance(node.kind, Flat) else node.number
        address = self.graph.linear(node, read.index, len(read.index[0].strides) if read.index else 0)
        strides, computed = self._address(address)
        if len(computed) > limits.COMPUTED:
            raise NotFusable("too many computed terms in an address")
        guards = tuple(self._guard(bound) for bound in read.bounds)
        return Slot(self.values[target], address.base, strides, computed, guards, read.fill)

    def _address(self, form: Affine) -> tuple[tuple[int, ...], tuple[tuple[int, Scalar], ...]]:
        terms: dict[Scalar, int] = {}
        for stride, scalar in form.computed:
            terms[scalar] = terms.get(scalar, 0) + stride
        return self._strides(form), tuple((stride, scalar) for scalar, stride in terms.items() if stride)

    def _guard(self, bound: Bound) -> spec_views.Guard:
        return spec_views.Guard(bound.form.base, self._strides(bound.form), bound.limit)

    def _strides(self, form: Affine) -> tuple[int, ...]:
        """Strides over the kernel's axes. A form over the output axes only does not move along the reduce axes."""
        own = len(form.strides)
        return tuple(form.strides[group[-1]] if group and group[-1] < own else 0 for group in self.joined)

    def _index(self, builder: CodeBuilder, form: Affine) -> Register:
        result: Register | None = builder.word(form.base) if form.base else None
        for axis, stride in enumerate(self._strides(form)):
            if stride:
                term = builder.index(axis)
                if stride != 1:
                    term = builder.imul(term, builder.word(stride))
                result = term if result is None else builder.iadd(result, term)
        return builder.word(0) if result is None else result


def build_kernel(
    graph: TensorGraph,
    evaluation: Evaluation,
    values: Mapping[int, int],
    dtypes: Sequence[DType],
    shape: tuple[int, ...] | None = None,
    base_shape: tuple[int, ...] | None = None,
) -> Kernel:
    """The kernel of an evaluated cluster.

    ``shape``: the output shape that is asked for, if any (for a scatter: ``base_shape``); else axes are joined freely.
    Raises: NotFusable if it passes a limit of the representation, or cannot have that shape.
    """
    joined = joined_axes(graph, evaluation, None if evaluation.scatter is not None else shape)
    all_extents = evaluation.out_extents + evaluation.reduce_extents
    extents = tuple(prod(all_extents[axis] for axis in group) for group in joined)
    out_axes = len(evaluation.out_extents)
    first_reduce = sum(1 for group in joined if not group or group[0] < out_axes)
    if len(extents) > limits.AXES:
        raise NotFusable("too many axes")
    assembler = Assembler(graph, joined, extents, values)
    scatter: Scatter | None = None
    fold: Fold | None = None
    if evaluation.scatter is not None:
        source = evaluation.scatter
        body, registers = assembler.code(evaluation.body, [source.address])
        merge = None if source.merge is None else assembler.code([source.merge])[0]
        base = None if source.base is None else values[_target(graph, source.base)]
        assert base_shape is not None, "a scatter has the shape of its base"
        address = assembler.address(source.address, source.bounds, registers)
        scatter = Scatter(base_shape, base, source.fill, address, merge)
    else:
        body, _ = assembler.code(evaluation.body)
    if evaluation.specs:
        spec = evaluation.specs[0]
        merge, _ = assembler.code(evaluation.merge)
        epilogue, _ = assembler.code(evaluation.epilogue)
        fold = Fold(evaluation.init, spec.lanes, spec.block, merge, epilogue, spec.scan)
    kernel = Kernel(
        out_shape=extents[:first_reduce],
        reduce_shape=extents[first_reduce:],
        loads=tuple(assembler.loads),
        body=body,
        outputs=tuple(dtypes),
        fold=fold,
        scatter=scatter,
    )
    check_limits(kernel)
    return kernel


def check_limits(kernel: Kernel) -> None:
    """Raise NotFusable where a kernel passes a limit."""
    codes = [kernel.body]
    if kernel.fold is not None:
        codes += [kernel.fold.merge, kernel.fold.epilogue]
        if len(kernel.fold.init) > limits.ACCUMULATORS:
            raise NotFusable("too many accumulators")
    if any(len(code.instructions) > limits.INSTRUCTIONS for code in codes):
        raise NotFusable("too many instructions")
    if len(kernel.loads) > limits.LOADS:
        raise NotFusable("too many loads")
    if sum(len(view.address.guards) for view in kernel.loads) > limits.GUARDS:
        raise NotFusable("too many guards")
    if len(kernel.outputs) > limits.OUTPUTS:
        raise NotFusable("too many outputs")
    if largest_size(kernel) > limits.ENCODED_KERNEL:
        raise NotFusable("the encoded kernel may be too large")


def _target(graph: TensorGraph, number: int) -> int:
    kind = graph.nodes[number].kind
    return kind.node if isinstance(kind, Flat) else number


def joined_axes(graph: TensorGraph, evaluation: Evaluation, shape: tuple[int, ...] | None) -> list[list[int]]:
    """Which axes of the evaluation make up each axis of the kernel.

    Neighbouring axes join where every address walks the two as one. A shape that is asked for is met or refused; it
    may have axes of extent 1, which are made of none.
    """
    out, reduce = evaluation.out_extents, evaluation.reduce_extents
    extents = out + reduce
    forms = leaf_forms(graph, evaluation)
    if shape is not None and evaluation.specs and evaluation.specs[0].scan:
        if shape[-1:] != reduce:
            raise NotFusable("a scan's last axis is the one it runs along")
        shape = shape[:-1]

    def joins(axis: int) -> bool:
        """Whether an axis joins the next one."""
        strides = ((f.strides[axis], f.strides[axis + 1]) for f in forms if axis + 1 < len(f.strides))
        return all(outer == inner * extents[axis + 1] for outer, inner in strides)

    if shape is None:
        groups = [[axis] for axis in range(len(out))]
        groups = join_neighbours(groups, joins)
    else:
        split = split_axes(out, shape)
        if split is None or any(len(part) > 1 for part in split[0]):
            raise NotFusable("the axes do not make up the shape that is asked for")
        groups, at = [], 0
        for dim in split[1]:
            groups.append(list(range(at, at + len(dim))))
            at += len(dim)
        if not all(joins(axis) for group in groups for axis in group[:-1]):
            raise NotFusable("the shape that is asked for needs axes joined that are walked apart")
    return groups + join_neighbours([[axis] for axis in range(len(out), len(extents))], joins)


def join_neighbours(groups: list[list[int]], joins) -> list[list[int]]:
    result: list[list[int]] = []
    for group in groups:
        if result and joins(result[-1][-1]):
            result[-1].extend(group)
        else:
            result.append(list(group))
    return result


def leaf_forms(graph: TensorGraph, evaluation: Evaluation) -> list[Affine]:
    """Every form that the finished kernel walks: indices, addresses and bounds. Forms may be over output axes only."""
    scalars = graph.scalars
    forms: list[Affine] = []
    for number in (*evaluation.needed_in_body, *evaluation.needed_in_epilogue):
        op = scalars.instructions[number].op
        if op is Op.INDEX:
            form = scalars.form_of(number)
            assert form is not None, "an index leaf is a form"
            forms.append(form)
        elif op is Op.LOAD:
            read = scalars.read_of(number)
            assert read is not None, "a load leaf is a read"
            if read.index:
                forms.append(graph.linear(graph.nodes[read.node], read.index, len(read.index[0].strides)))
            forms.extend(bound.form for bound in read.bounds)  # a single element may have some, too
    if evaluation.scatter is not None:
        forms.append(evaluation.scatter.address)
        forms.extend(bound.form for bound in evaluation.scatter.bounds)
    return forms


def largest_size(kernel: Kernel) -> int:
    """An upper bound of the encoded size in bytes, cheap to compute."""
    axes = len(kernel.out_shape) + len(kernel.reduce_shape)
    codes = [kernel.body]
    if kernel.fold is not None:
        codes += [kernel.fold.merge, kernel.fold.epilogue]
    size = 256 + 8 * axes + 6 * sum(len(code.instructions) for code in codes)
    for view in kernel.loads:
        size += 32 + 8 * axes + 16 * len(view.address.computed) + (24 + 8 * axes) * len(view.address.guards)
    return size


class NoNumbers(dict[int, int]):
    """Value numbers where only the size of a kernel matters."""

    def __missing__(self, key: int) -> int:
        return 0


def check_evaluation(graph: TensorGraph, evaluation: Evaluation, shape: tuple[int, ...] | None, linear: bool) -> None:
    """Raise NotFusable unless the evaluation makes a legal kernel whose outputs have the shape, if one is given."""
    if evaluation.specs and evaluation.specs[0].contraction and not linear:
        check_operands(graph, evaluation.body[0])
    if is_small(graph, evaluation, 0 if shape is None else len(shape)):
        if shape is not None:
            joined_axes(graph, evaluation, shape)
        return
    outputs = max(1, len(evaluation.epilogue) if evaluation.specs else len(evaluation.body))
    build_kernel(graph, evaluation, NoNumbers(), [DType.F32] * outputs, shape, ())


def is_small(graph: TensorGraph, evaluation: Evaluation, rank: int) -> bool:
    """Whether a kernel is certainly within all limits, by bounds that are quick to compute.

    ``rank``: the least number of output axes.
    """
    axes = max(rank, len(evaluation.out_extents)) + len(evaluation.reduce_extents)
    scalars = graph.scalars
    total, loads, guards, computed = 0, 0, 0, 0
    for code in (evaluation.needed_in_body, evaluation.needed_in_epilogue):
        instructions = len(code)
        for number in code:
            op = scalars.instructions[number].op
            if op is Op.INDEX:
                instructions += 3 * axes
            elif op is Op.LOAD:
                read = scalars.read_of(number)
                assert read is not None, "a load leaf is a read"
                loads += 1
                guards += len(read.bounds)
                computed = max(computed, sum(len(form.computed) for form in read.index))
        if instructions > limits.INSTRUCTIONS:
            return False
        total += instructions
    size = 256 + 6 * total + loads * (64 + 8 * axes) + guards * (24 + 8 * axes)
    return (
        axes <= limits.AXES
        and loads <= limits.LOADS
        and guards <= limits.GUARDS
        and computed <= limits.COMPUTED
        and len(evaluation.init) <= limits.ACCUMULATORS
        and evaluation.scatter is None
        and size <= limits.ENCODED_KERNEL
    )


def check_operands(graph: TensorGraph, body: Scalar) -> None:
    """Raise NotFusable unless a contraction multiplies two plain loads: its order never recomputes an operand."""
    instruction = graph.scalars.instructions[body]
    if instruction.op is not Op.FFMA:
        raise NotFusable("a contraction is a fused multiply-add")
    for operand in instruction.args[:2]:
        read = graph.scalars.read_of(operand)
        if read is None or read.dtype not in FLOATS or any(form.computed for form in read.index):
            raise NotFusable("an operand of a contraction is computed")
