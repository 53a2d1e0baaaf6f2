"""Hypothesis strategies that draw valid small programs, and data to run them on.

Together they cover every instruction, every kind of kernel (map, fold of all lane counts, scan, scatter), guards,
gathers, computed terms, negative strides, every storage type and the special words of binary32. Programs are small
enough for the plain Python definition: some hundred points and a few dozen instructions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from hypothesis import strategies as st

from tallystick.ir.ranges import affine_range, box_of
from tallystick.spec import limits
from tallystick.spec.instructions import ARITY, SOURCES, Code, Instruction, Op
from tallystick.spec.kernels import Fold, Kernel, Scatter
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, Tensor, TensorType, is_storable
from tallystick.spec.views import Address, Guard, View

Draw = Callable[[st.SearchStrategy], object]

MAGNITUDES = (
    *(0x00000000, 0x00000001, 0x00000003, 0x007FFFFF, 0x00800000, 0x00800001, 0x0C800000, 0x1FFFFFFF, 0x20000000),
    *(0x33800000, 0x33800001, 0x3EFFFFFF, 0x3F000000, 0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x3FC00000, 0x40200000),
    *(0x40490FDB, 0x477FF000, 0x4B000001, 0x4B7FFFFF, 0x4EFFFFFF, 0x4F000000, 0x5F000000, 0x7F000000, 0x7F7FFFFF),
    *(0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF),
)
SPECIAL_WORDS = tuple(word | sign for sign in (0, 0x80000000) for word in MAGNITUDES)
SMALL_INTEGERS = tuple(number & 0xFFFFFFFF for number in range(-3, 40))
COMPUTING = tuple(op for op in Op if op not in SOURCES)
LOADS = 5  # per kernel: more would only make failures harder to read


def words() -> st.SearchStrategy[int]:
    """Any word; special floats and small integers often."""
    return st.sampled_from(SPECIAL_WORDS) | st.sampled_from(SMALL_INTEGERS) | st.integers(0, 0xFFFFFFFF)


def random_word(rng: random.Random) -> int:
    """The same for bulk data, from a seeded generator."""
    match rng.randrange(6):
        case 0:
            return rng.choice(SPECIAL_WORDS)
        case 1:
            return rng.choice(SMALL_INTEGERS)
        case 2:
            return rng.getrandbits(32)
        case _:  # floats of close exponents, so that sums align, cancel and round
            return rng.getrandbits(1) << 31 | rng.randrange(118, 136) << 23 | rng.getrandbits(23)


def random_tensor(type: TensorType, rng: random.Random) -> Tensor:
    """A tensor of mixed words, narrow floats of all exponents among them. NaNs are canonical, bools 0 or 1."""
    tensor = Tensor(type)
    for element in range(type.elements):
        tensor.store(element, random_word(rng))
        if type.dtype.size == 2 and not rng.randrange(4):
            bits = rng.getrandbits(16)
            if is_storable(type.dtype, bits):
                tensor.data[element * 2 : element * 2 + 2] = bits.to_bytes(2, "little")
    return tensor


def shapes(max_rank: int, max_points: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Small shapes, now and then with an axis longer than a vector."""
    extents = st.sampled_from([3, 5, 4, 2, 1, 5, 7, 16, 17, 19, 33, 40, 70, 150])
    return st.lists(extents, max_size=max_rank).map(lambda extents: shrink_to(extents, max_points))


def shrink_to(extents: Sequence[int], max_points: int) -> tuple[int, ...]:
    """The shape with its longest axes cut until it has at most that many points."""
    shape = list(extents)
    while prod(shape) > max_points:
        longest = shape.index(max(shape))
        shape[longest] = shape[longest] // 2
    return tuple(shape)


def tensor_types() -> st.SearchStrategy[TensorType]:
    dtypes = st.just(DType.F32) | st.sampled_from(list(DType))
    return st.builds(TensorType, dtypes, shapes(4, 200))


# ADDRESSES


@st.composite
def addresses(draw, shape: Sequence[int], elements: int, registers: int, out_axes: int | None = None) -> Address:
    """An address that the verifier accepts, into a tensor of that many elements.

    ``registers`` may be used for computed terms. Axes from ``out_axes`` on get stride 0.
    """
    shape = tuple(shape)
    usable = len(shape) if out_axes is None else out_axes
    mode = draw(st.sampled_from(["dense", "dense", "fitting", "guarded", "window", "computed"]))
    if mode == "computed" and registers == 0:
        mode = "fitting"
    rest = (0,) * (len(shape) - usable)
    strides = draw(st.lists(st.integers(-6, 6) | st.integers(-70, 70), min_size=usable, max_size=usable))
    if mode == "dense":
        strides, running = [0] * usable, 1
        for axis in draw(st.permutations(range(usable)) | st.just(list(reversed(range(usable))))):
            if running * shape[axis] <= elements and draw(st.integers(0, 4)):
                strides[axis], running = running, running * shape[axis]
    if mode in ("dense", "fitting"):
        while True:
            low, high = affine_range(0, (*strides, *rest), box_of(shape))
            if high - low < elements:
                break
            spans = [abs(stride) * (extent - 1) for stride, extent in zip(strides, shape, strict=False)]
            widest = spans.index(max(spans))
            strides[widest] = int(strides[widest] / 3)
        base = draw(st.sampled_from([-low, elements - 1 - high]) | st.integers(-low, elements - 1 - high))
        guards = draw(st.lists(guard_for(shape, usable), max_size=1))
        return Address(base, (*strides, *rest), (), tuple(guards))
    base = draw(st.integers(-10, elements))
    if mode == "guarded":
        guard = Guard(base, (*strides, *rest), elements)
        return Address(base, guard.strides, (), (guard, *draw(st.lists(guard_for(shape, usable), max_size=1))))
    if mode == "window":
        return draw(windows(shape, elements, usable))
    terms = st.tuples(st.sampled_from([1, 1, -1, 2, 5, 0, 1 << 20]), st.integers(0, registers - 1))
    computed = draw(st.lists(terms, min_size=1, max_size=2))
    guards = draw(st.lists(guard_for(shape, usable), max_size=2))
    return Address(base, (*strides, *rest), tuple(computed), tuple(guards))


@st.composite
def guard_for(draw, shape: Sequence[int], usable: int) -> Guard:
    """A guard that is open somewhere, mostly."""
    strides = draw(st.lists(st.integers(-2, 2), min_size=usable, max_size=usable)) + [0] * (len(shape) - usable)
    low, high = affine_range(0, strides, box_of(shape))
    base = draw(st.integers(-high - 1, -low + 1))
    return Guard(base, tuple(strides), draw(st.integers(0, high - low + 3)))


@st.composite
def windows(draw, shape: Sequence[int], elements: int, usable: int) -> Address:
    """Sliding windows with padding over a tensor read as (rows, columns), as a convolution has them."""
    columns = draw(st.integers(1, elements))
    rows = elements // columns
    base, strides, guards = 0, [0] * len(shape), []
    for pitch, extent in ((columns, rows), (1, columns)):
        inner = [0] * len(shape)
        for axis in draw(st.lists(st.integers(0, usable - 1), max_size=2, unique=True)) if usable else []:
            inner[axis] = draw(st.sampled_from([1, 1, 2, -1]))
        low, high = affine_range(0, inner, box_of(shape))
        padding = draw(st.integers(-high, extent - low))
        guards.append(Guard(padding, tuple(inner), extent))
        base += pitch * padding
        strides = [stride + pitch * step for stride, step in zip(strides, inner, strict=True)]
    return Address(base, tuple(strides), (), tuple(guards))


# CODES


@dataclass
class Scope:
    """What the codes of one kernel may use. Loads are collected here as they are drawn."""

    values: Sequence[TensorType]
    shape: tuple[int, ...]
    loads: list[View]
    guards: int = 0


@st.composite
def codes(
    draw,
    scope: Scope | None,
    results: int,
    accumulators: int = 0,
    out_axes: int | None = None,
    max_size: int = 14,
) -> Code:
    """Straight-line code. Without a scope (a merge) it has no loads and no indices; with ``out_axes`` (an epilogue)
    only those axes.
    """
    instructions: list[Instruction] = []
    kinds = ["const", "step", *["compute"] * 7]
    kinds += ["acc"] * (2 if accumulators else 0)
    axes = 0
    if scope is not None:
        axes = len(scope.shape) if out_axes is None else out_axes
        kinds += ["load", "load", "gather"] + ["index"] * (axes > 0)
    for _ in range(draw(st.integers(min(4, max_size), max_size))):
        kind = draw(st.sampled_from(kinds))
        if kind == "acc":
            instructions.append(Instruction(Op.ACC, (), draw(st.integers(0, accumulators - 1))))
        elif kind == "index":
            instructions.append(Instruction(Op.INDEX, (), draw(st.integers(0, axes - 1))))
        elif kind == "step":
            instructions.append(Instruction(Op.STEP))
        elif kind in ("load", "gather") and scope is not None and len(scope.loads) < LOADS:
            if kind == "gather" and instructions:
                append_index(draw, instructions)
            append_load(draw, instructions, scope, out_axes)
        elif kind == "compute" and instructions:
            op = draw(st.sampled_from(COMPUTING))
            instructions.append(Instruction(op, tuple(draw(registers(len(instructions))) for _ in range(ARITY[op]))))
        else:
            instructions.append(Instruction(Op.CONST, (), draw(words())))
    return Code(tuple(instructions), tuple(draw(registers(len(instructions))) for _ in range(results)))


def registers(count: int) -> st.SearchStrategy[int]:
    """An earlier register, often one of the last, so that little code is dead."""
    return st.integers(max(0, count - 3), count - 1) | st.integers(0, count - 1)


def append_index(draw, instructions: list[Instruction]) -> None:
    """Make some register a small number, so that addresses computed from it are sometimes inside."""
    number = draw(registers(len(instructions)))
    op, constant = draw(st.sampled_from([(Op.AND, 7), (Op.AND, 63), (Op.IREM, 5), (Op.IDIV, 3), (Op.LSHR, 29)]))
    instructions.append(Instruction(Op.CONST, (), constant))
    instructions.append(Instruction(op, (number, len(instructions) - 1)))


def append_load(draw, instructions: list[Instruction], scope: Scope, out_axes: int | None) -> None:
    value = draw(st.integers(0, len(scope.values) - 1))
    address = draw(addresses(scope.shape, scope.values[value].elements, len(instructions), out_axes))
    if scope.guards + len(address.guards) > limits.GUARDS:
        address = Address(0, (0,) * len(scope.shape))
    scope.guards += len(address.guards)
    instructions.append(Instruction(Op.LOAD, (), len(scope.loads)))
    scope.loads.append(View(value, address, draw(words())))


# KERNELS


@st.composite
def maps(draw, values: Sequence[TensorType]) -> Kernel:
    shape = draw(shapes(4, 200))
    scope = Scope(values, shape, [])
    outputs = draw(st.lists(st.sampled_from(list(DType)), min_size=1, max_size=3))
    body = draw(codes(scope, len(outputs)))
    return Kernel(shape, (), tuple(scope.loads), body, tuple(outputs))


@st.composite
def folds(draw, values: Sequence[TensorType]) -> Kernel:
    """Folds of 1 to 4 accumulators, with random bodies or the ones engines know."""
    out_shape = draw(shapes(3, 20) | shapes(2, 100))
    reduce_shape = draw(shapes(3, 70).filter(bool))
    reduce_shape = shrink_to(reduce_shape, max(2, 400 // prod(out_shape)))
    scope = Scope(values, out_shape + reduce_shape, [])
    count = draw(st.integers(1, 4))
    known = draw(st.sampled_from([None, None, "contraction", "sum", "integer sum", "greatest"]))
    if known is None:
        body = draw(codes(scope, count, count))
        merge = draw(codes(None, count, 2 * count, max_size=6))
    else:
        count = 1
        body, merge = draw(known_folds(known, scope))
    lanes = 1 if known == "contraction" else draw(st.sampled_from([1, 1, 2, 4, 8, 16]))
    block = lanes * draw(st.integers(1, 6) | st.just(512))
    outputs = draw(st.lists(st.sampled_from(list(DType)), min_size=1, max_size=2))
    epilogue = draw(codes(scope, len(outputs), count, len(out_shape), max_size=5))
    starts = st.just(0) if known == "contraction" else st.just(0) | words()
    init = tuple(draw(st.lists(starts, min_size=count, max_size=count)))
    fold = Fold(init, lanes, block, merge, epilogue)
    return Kernel(out_shape, reduce_shape, tuple(scope.loads), body, tuple(outputs), fold)


@st.composite
def known_folds(draw, name: str, scope: Scope) -> tuple[Code, Code]:
    """Body and merge of a fold of one accumulator that engines may recognise."""
    instructions: list[Instruction] = [Instruction(Op.ACC)]
    append_load(draw, instructions, scope, None)
    if name == "contraction":
        append_load(draw, instructions, scope, None)
        combine: list[Instruction] = [Instruction(Op.FFMA, (1, 2, 0))]
    elif name == "greatest":
        combine = [Instruction(Op.FLT, (0, 1)), Instruction(Op.SELECT, (2, 1, 0))]
    else:
        combine = [Instruction(Op.FADD if name == "sum" else Op.IADD, (0, 1))]
    body = Code((*instructions, *combine), (len(instructions) + len(combine) - 1,))
    pair = (Instruction(Op.ACC, (), 0), Instruction(Op.ACC, (), 1))
    if name == "greatest":
        return body, Code((*pair, Instruction(Op.FLT, (0, 1)), Instruction(Op.SELECT, (2, 1, 0))), (3,))
    add = Op.IADD if name == "integer sum" else Op.FADD
    return body, Code((*pair, Instruction(add, (0, 1))), (2,))


@st.composite
def scans(draw, values: Sequence[TensorType]) -> Kernel:
    out_shape = draw(shapes(2, 20))
    reduce_shape = (draw(st.sampled_from([1, 2, 5, 9, 17])),)
    scope = Scope(values, out_shape + reduce_shape, [])
    count = draw(st.integers(1, 4))
    body = draw(codes(scope, count, count, max_size=8))
    outputs = draw(st.lists(st.sampled_from(list(DType)), min_size=1, max_size=2))
    epilogue = draw(codes(scope, len(outputs), count, max_size=4))
    merge = draw(codes(None, count, 2 * count, max_size=2))
    init = tuple(draw(st.lists(words(), min_size=count, max_size=count)))
    block = reduce_shape[0] + draw(st.integers(0, 3))
    fold = Fold(init, 1, block, merge, epilogue, scan=True)
    return Kernel(out_shape, reduce_shape, tuple(scope.loads), body, tuple(outputs), fold)


@st.composite
def scatters(draw, values: Sequence[TensorType]) -> Kernel:
    source_shape = draw(shapes(3, 100))
    scope = Scope(values, source_shape, [])
    base = draw(st.none() | st.integers(0, len(values) - 1))
    made = draw(tensor_types()) if base is None else values[base]
    body = draw(codes(scope, 1, max_size=8))
    if draw(st.booleans()):
        instructions = list(body.instructions)
        append_index(draw, instructions)
        body = Code(tuple(instructions), body.results)
    address = draw(addresses(source_shape, made.elements, len(body.instructions)))
    if scope.guards + len(address.guards) > limits.GUARDS:
        address = Address(0, (0,) * len(source_shape))
    merge = draw(st.none() | codes(None, 1, 2, max_size=4))
    scatter = Scatter(made.shape, base, draw(words()), address, merge)
    return Kernel(source_shape, (), tuple(scope.loads), body, (made.dtype,), None, scatter)


def kernels(values: Sequence[TensorType]) -> st.SearchStrategy[Kernel]:
    return st.one_of(maps(values), folds(values), scans(values), scatters(values))


# PROGRAMS


@dataclass(frozen=True)
class Case:
    """A program with everything it takes to run it."""

    program: Program
    state: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    first_step: int
    steps: int

    def __repr__(self) -> str:
        """With the data as hexadecimal, so that a failure can be copied into a test."""
        data = [tensor.data.hex() for tensor in (*self.state, *self.constants)]
        return f"Case({self.program!r}, data={data}, first_step={self.first_step}, steps={self.steps})"


@st.composite
def programs(draw, max_kernels: int = 3) -> Program:
    """Valid programs. Every kernel's outputs become state slots, so that nothing that is computed goes unseen."""
    states = draw(st.lists(tensor_types(), min_size=1, max_size=2))
    states += draw(st.lists(st.sampled_from(states), max_size=2))  # of equal types, so that slots can trade values
    constants = draw(st.lists(tensor_types(), max_size=2))
    types = [*states, *constants]
    made: list[Kernel] = []
    for _ in range(draw(st.integers(1, max_kernels))):
        kernel = draw(kernels(tuple(types)))
        made.append(kernel)
        types.extend(kernel.output_types)
    first = len(states) + len(constants)
    next_state = [draw(st.sampled_from([n for n, type in enumerate(types) if type == slot])) for slot in states]
    # Slots for the outputs go behind the drawn states; every value that is no drawn state moves up.
    records = types[first:]
    by, since = len(records), len(states)
    moved = tuple(renumber(kernel, since, by) for kernel in made)
    next_state = [value + by if value >= since else value for value in next_state]
    next_state += [first + by + i for i in range(len(records))]
    return Program((*states, *records), tuple(constants), moved, tuple(next_state))


def renumber(kernel: Kernel, since: int, by: int) -> Kernel:
    """The kernel with values from ``since`` on numbered ``by`` higher."""
    loads = tuple(replace(view, value=view.value + by * (view.value >= since)) for view in kernel.loads)
    scatter = kernel.scatter
    if scatter is not None and scatter.base is not None and scatter.base >= since:
        scatter = replace(scatter, base=scatter.base + by)
    return replace(kernel, loads=loads, scatter=scatter)


@st.composite
def cases(draw, max_kernels: int = 3) -> Case:
    """Programs with random data, a first step and a number of steps."""
    program = draw(programs(max_kernels))
    return fill(program, draw(st.integers(0, 1 << 32)), draw(st.sampled_from([0, 1, 7, (1 << 31) - 3])))


def fill(program: Program, seed: int, first_step: int = 0, steps: int = 2) -> Case:
    """A program with data from a seed."""
    rng = random.Random(seed)
    state = tuple(random_tensor(type, rng) for type in program.states)
    constants = tuple(random_tensor(type, rng) for type in program.constants)
    return Case(program, state, constants, first_step, steps)
