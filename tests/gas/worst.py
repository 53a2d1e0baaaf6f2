"""The worst leaves that a valid program can have, and how they are looked for.

A leaf costs what its bytes, its openings and its instructions cost. Openings are as deep as a tensor and a trace of the
largest size make them, and as many as a kernel may have loads; codes are as long as they may be, and made of one of the
dearest instructions on the operands that are dearest for it. What is left of a kernel's 4,096 bytes is filled with the
parts of addresses: computed terms and guards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evm.arithmetic import BATCH, Arithmetic
from evm.operands import operands
from gas.leaves import DIRT, F32, Scene, Size
from gas.trees import SparseTensor, with_elements
from tallystick.errors import ProgramError
from tallystick.ir.verifier import verify_kernel
from tallystick.spec import limits
from tallystick.spec.encoding import encode_kernel
from tallystick.spec.instructions import ARITY, Code, Instruction, Op
from tallystick.spec.kernels import Fold, Kernel, Scatter
from tallystick.spec.scalar_steps import Work, scalar_step, scalar_steps
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

SIZE = Size(states=1_000, constants=1_000, values=limits.VALUES, kernels=limits.VALUES // 2)
FIRST_VALUE = limits.VALUES - 8
LAST = limits.ELEMENTS - 1
ROW = 2 * limits.LANES  # reduce points, in two blocks
FOUR = limits.ACCUMULATORS
SPREAD = 60_001  # between the numbers of the values that are loaded
SMALLEST_F16 = 1  # subnormal, so that it is dearest to widen


@dataclass(frozen=True)
class Dear:
    """An instruction on operands for which it costs most."""

    op: Op
    words: tuple[int, ...]


DEAREST = (
    Dear(Op.FSUB, (0x7F7FFFFF, 0x4B000001)),
    Dear(Op.FADD, (0x7F7FFFFF, 0xCB000001)),
    Dear(Op.FFMA, (0x7F7FFFFF, 0x33800001, 0xBF800000)),
    Dear(Op.FDIV, (0x003FFFFF, 0x40000000)),
)
"""The dearest instructions, the dearest first, found by ``gas_of_dearest_case`` among many cases."""


def gas_of_dearest_case(contract: Arithmetic, op: Op, cases: int) -> int:
    """What an instruction costs on the worst of so many operands."""
    return int(gas_of_rows(contract, op, operands(ARITY[op], cases, seed=op)).max())


def gas_of(contract: Arithmetic, dear: Dear) -> int:
    """What an instruction costs on its operands."""
    return int(gas_of_rows(contract, dear.op, np.array([dear.words] * 2, np.uint32)).max())


def gas_of_rows(contract: Arithmetic, op: Op, rows: np.ndarray) -> np.ndarray:
    """For all operands but the first of every call, which pay for memory besides."""
    gas = contract.compute(op, rows).gas
    return gas[np.arange(len(gas)) % BATCH != 0]


@dataclass(frozen=True)
class Worst:
    """What a worst leaf is made of. ``kind`` is map, fold, scan or scatter; ``axes`` are all of the kernel's."""

    kind: str
    work: Work
    dear: Dear
    axes: int = limits.AXES
    dtype: DType = F32  # of what is loaded
    guards_first: bool = False

    @property
    def name(self) -> str:
        what = f"{self.kind} {self.work.name.lower().replace('_', ' ')}"
        filled = "guards" if self.guards_first else "terms"
        return f"{what}, {self.dear.op.name.lower()}, {self.axes} axes, {self.dtype.name.lower()}, {filled} first"

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Extents over output and reduce axes."""
        if self.kind in ("map", "scatter"):
            return (2,) * self.axes, ()
        return (2,) * (self.axes - 1), (ROW,)

    @property
    def indices(self) -> tuple[int, ...]:
        """Of the point where the leaf is: the last one."""
        out_shape, reduce_shape = self.shapes
        reduced = 0 if self.kind == "fold" and self.work is Work.STORE else ROW - 1
        return (1,) * len(out_shape) + (reduced,) * len(reduce_shape)

    @property
    def element(self) -> int:
        """That every slot loads there: so near the end of its value that no stride or term may leave it."""
        return LAST - sum(self.indices) - limits.COMPUTED


# KERNELS


def loading(worst: Worst, results: int) -> Code:
    """Register 0 is 1, for computed terms; every slot is loaded; then one instruction as often as there is room."""
    sources = [Instruction(Op.CONST, (), 1)]
    sources += [Instruction(Op.LOAD, (), slot) for slot in range(limits.LOADS)]
    if worst.dtype is F32:  # the operands are loaded
        return repeated(sources, worst.dear, 1, results)
    constants = [Instruction(Op.CONST, (), word) for word in worst.dear.words]
    return repeated(sources + constants, worst.dear, len(sources), results)


def merging(worst: Worst, results: int) -> Code:
    """The instruction on constants."""
    return repeated([Instruction(Op.CONST, (), word) for word in worst.dear.words], worst.dear, 0, results)


def repeated(sources: list[Instruction], dear: Dear, first: int, results: int) -> Code:
    """The sources, then an instruction on the registers from ``first`` on, as often as there is room."""
    again = Instruction(dear.op, tuple(range(first, first + ARITY[dear.op])))
    instructions = sources + [again] * (limits.INSTRUCTIONS - len(sources))
    return Code(tuple(instructions), tuple(range(limits.INSTRUCTIONS - results, limits.INSTRUCTIONS)))


PASSING = Code(tuple(Instruction(Op.ACC, (), number) for number in range(FOUR)), tuple(range(FOUR)))


def address(worst: Worst, element: int, terms: int, guards: int) -> Address:
    """Of an element, at the point where the leaf is. Strides are negative: that makes all of their bytes dear."""
    strides = tuple(-1 if index else 0 for index in worst.indices)
    away = sum(worst.indices)
    guard = Guard(away, strides, LAST)
    return Address(element + away + terms, strides, ((-1, 0),) * terms, (guard,) * guards)


def kernel_of(worst: Worst, terms: int, guards: int) -> Kernel:
    """A kernel with that many computed terms and guards, dealt out to its addresses."""
    count = limits.LOADS + (worst.kind == "scatter")
    addresses = [
        address(
            worst, worst.element if slot < limits.LOADS else 1, share(terms, slot, count), share(guards, slot, count)
        )
        for slot in range(count)
    ]
    loads = tuple(View(slot * SPREAD, at) for slot, at in enumerate(addresses[: limits.LOADS]))
    out_shape, reduce_shape = worst.shapes
    if worst.kind == "map":
        return Kernel(out_shape, (), loads, loading(worst, FOUR), (DType.F16,) * FOUR)
    if worst.kind == "scatter":
        scatter = Scatter((1 << 20,), None, 0, addresses[-1], merging(worst, 1))
        return Kernel(out_shape, (), loads, loading(worst, 1), (DType.F16,), None, scatter)
    body = merge = epilogue = PASSING
    if worst.work is Work.UPDATE:
        body = loading(worst, FOUR)
    elif worst.work is Work.STORE:
        epilogue = loading(worst, FOUR)
    else:
        merge, loads = merging(worst, FOUR), ()
    lanes, scan = (1, True) if worst.kind == "scan" else (limits.LANES, False)
    fold = Fold(worst_words(FOUR), lanes, ROW if scan else lanes, merge, epilogue, scan)
    return Kernel(out_shape, reduce_shape, loads, body, (DType.F16,) * FOUR, fold)


def worst_words(count: int) -> tuple[int, ...]:
    """Words without a zero byte."""
    return tuple(0x9A3B7C5D ^ number for number in range(count))


def share(parts: int, number: int, count: int) -> int:
    """How many of so many parts an address gets when they are dealt out in turn."""
    return parts // count + (number < parts % count)


def filled(worst: Worst) -> Kernel:
    """A valid kernel with as many terms and guards as there is room for, one kind first."""
    most = {"terms": limits.COMPUTED * limits.LOADS, "guards": limits.GUARDS}
    parts = {"terms": 0, "guards": 0}
    for kind in ("guards", "terms") if worst.guards_first else ("terms", "guards"):
        parts[kind] = max(number for number in range(most[kind] + 1) if fits(worst, {**parts, kind: number}))
    kernel = kernel_of(worst, **parts)
    verify_kernel(kernel, [loaded_type(worst.dtype)] * FIRST_VALUE)
    return kernel


def fits(worst: Worst, parts: dict[str, int]) -> bool:
    try:
        return len(encode_kernel(kernel_of(worst, **parts))) <= limits.ENCODED_KERNEL
    except ProgramError:
        return False


def loaded_type(dtype: DType) -> TensorType:
    """As many elements as a tensor may have, and as many dimensions."""
    return TensorType(dtype, (32,) * limits.AXES)


# SCENES


def scene(worst: Worst) -> Scene:
    """The leaf, in a program of as many values as there may be."""
    kernel = filled(worst)
    accumulators = {"map": 0, "scatter": 1, "scan": FOUR, "fold": FOUR * (limits.LANES + 1)}[worst.kind]
    element, position = where(worst, kernel)
    return Scene(kernel, element, position, worst_words(accumulators), tensors(worst, kernel), SIZE, FIRST_VALUE, 1_234)


def where(worst: Worst, kernel: Kernel) -> tuple[int, int]:
    """The element and the scalar step of it: the last of its kind."""
    points = 1
    for extent in kernel.output_types[0].shape:
        points *= extent
    element = 1 if worst.kind == "scatter" else points - 1
    steps = range(scalar_steps(kernel, element) - 1, -1, -1)
    return element, next(n for n in steps if scalar_step(kernel, element, n).work is worst.work)


def tensors(worst: Worst, kernel: Kernel) -> dict[int, SparseTensor]:
    """What is loaded: the operands first."""
    type, element = loaded_type(worst.dtype), worst.element
    words = worst.dear.words if worst.dtype is F32 else ()
    padded = [*words, *worst_words(limits.LOADS)][: len(kernel.loads)]
    if worst.dtype is not F32:
        padded = [SMALLEST_F16] * len(kernel.loads)
    return {
        view.value: with_elements(type, {element: word}, DIRT) for view, word in zip(kernel.loads, padded, strict=True)
    }


def candidates() -> list[Worst]:
    """Where to look: every kind of leaf; the dearest instructions; fewer axes for more of other parts; other types."""
    kinds = [
        ("map", Work.STORE),
        ("fold", Work.UPDATE),
        ("fold", Work.MERGE_BLOCK),
        ("fold", Work.MERGE_LANES),
        ("fold", Work.STORE),
        ("scan", Work.UPDATE),
        ("scan", Work.STORE),
    ]
    found = [Worst(kind, work, DEAREST[0]) for kind, work in kinds]
    found += [Worst("scatter", Work.PLACE, each) for each in DEAREST]
    found += [
        Worst("scatter", Work.PLACE, DEAREST[0], axes, F32, first)
        for axes in (4, 6, 7, 8)
        for first in (False, True)
        if (axes, first) != (limits.AXES, False)
    ]
    found.append(Worst("scatter", Work.PLACE, DEAREST[0], dtype=DType.F16))
    return found


# READING A KERNEL


def longest_kernel() -> Kernel:
    """Three codes of the instruction that takes longest to recognise, and an output of the largest size."""
    codes = [Code((Instruction(Op.STEP),) * limits.INSTRUCTIONS, tuple(range(FOUR))) for _ in range(3)]
    shape = (64,) * 6 + (16,)
    assert TensorType(F32, shape).elements == limits.ELEMENTS
    fold = Fold(worst_words(FOUR), limits.LANES, limits.ELEMENTS, codes[1], codes[2])
    kernel = Kernel(shape, (limits.ELEMENTS,), (), codes[0], (F32,) * FOUR, fold)
    verify_kernel(kernel, [])
    return kernel


def longest_to_reveal() -> Scene:
    """A dispute about the last element of it."""
    kernel = longest_kernel()
    words = worst_words(FOUR * (limits.LANES + 1))
    return Scene(kernel, LAST, 12_345, words, {}, SIZE, FIRST_VALUE, 1_234, FOUR - 1)
