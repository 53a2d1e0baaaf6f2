"""Folds and scans of every shape, with merges that give away the order they are done in."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from math import prod

from conformance.implementations import Implementation, Specification, assert_same_words
from property.strategies import Case, random_tensor
from sample_programs import code
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import Code, Op
from tallystick.spec.kernels import Fold, Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, Tensor, TensorType
from tallystick.spec.views import Address, Guard, View

FLOATS = random_tensor(TensorType(DType.F32, (4000,)), random.Random(11))
BITS = random_tensor(TensorType(DType.I32, (4000,)), random.Random(12))
HALVES = random_tensor(TensorType(DType.BF16, (4000,)), random.Random(13))
FLOAT, BIT, HALF = range(3)  # their value numbers

Case_ = tuple[Case, list[bytes]]


def case_of(kernels: Sequence[Kernel]) -> Case_:
    """All values of one step, as the definition makes them. The state is what kernels read, and stays as it is."""
    state = (FLOATS, BITS, HALVES)
    program = Program(tuple(tensor.type for tensor in state), (), tuple(kernels), (FLOAT, BIT, HALF))
    case = Case(program, state, (), 3, 1)
    return case, Specification().trace(case)


def dense(shape: Sequence[int], offset: int = 0) -> Address:
    """Row-major over all axes."""
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return Address(offset, tuple(strides))


def transposed(shape: Sequence[int]) -> Address:
    """The first axis is the contiguous one."""
    strides = [prod(shape[:axis]) for axis in range(len(shape))]
    return Address(0, tuple(strides))


def combine(write: Callable[[CodeBuilder], Sequence[int]]) -> Code:
    builder = CodeBuilder()
    return builder.build(*write(builder))[0]


def noting(count: int) -> tuple[Code, Code, Code]:
    """Body, merge and epilogue of a fold whose words tell which steps were combined in which order."""

    def body(b: CodeBuilder) -> list[int]:
        x = b.load(0)
        return [b.iadd(b.imul(b.acc(n), b.word(31 + 2 * n)), b.xor(x, b.word(n))) for n in range(count)]

    def merge(b: CodeBuilder) -> list[int]:
        return [b.iadd(b.imul(b.acc(n), b.word(1000003)), b.acc(count + n)) for n in range(count)]

    def epilogue(b: CodeBuilder) -> list[int]:
        words = [b.acc(n) for n in range(count)]
        return [b.iadd(b.imul(words[0], b.word(7)), word) for word in words]

    return combine(body), combine(merge), combine(epilogue)


OUT_SHAPES = [(), (3,), (37,), (2, 18)]


@cache
def orders() -> Case_:
    kernels = []
    for number, (lanes, out_shape) in enumerate(product((1, 2, 4, 8, 16), OUT_SHAPES)):
        turns = [((1,), lanes), ((7, 5), 4 * lanes), ((33,), 16), ((40,), 512), ((3, 16), 16)]
        for steps, block in turns[number % 2 :: 2]:
            if prod(out_shape) > 10 and prod(steps) > 35:
                continue
            count = 1 + len(kernels) % 4
            body, merge, epilogue = noting(count)
            address = (dense, transposed)[len(kernels) % 2](out_shape + steps)
            fold = Fold((5, 0, 0xFFFFFFFF, 1)[:count], lanes, block, merge, epilogue)
            kernels.append(Kernel(out_shape, steps, (View(BIT, address),), body, (DType.I32,) * count, fold))
    return case_of(kernels)


def test_the_order_of_lanes_blocks_and_merges(impl: Implementation) -> None:
    case, want = orders()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


def known_bodies() -> dict[str, tuple[Code, Code]]:
    """Body and merge of the folds that models use."""
    return {
        "sum": (code(lambda b: b.fadd(b.acc(), b.load(0))), code(lambda b: b.fadd(b.acc(0), b.acc(1)))),
        "sum of squares": (
            code(lambda b: b.ffma(b.load(0), b.load(1), b.acc())),
            code(lambda b: b.fadd(b.acc(0), b.acc(1))),
        ),
        "integer sum": (code(lambda b: b.iadd(b.load(0), b.acc())), code(lambda b: b.iadd(b.acc(0), b.acc(1)))),
        "greatest": (
            code(lambda b: b.select(b.flt(b.acc(), b.load(0)), b.load(0), b.acc())),
            code(lambda b: b.select(b.flt(b.acc(0), b.acc(1)), b.acc(1), b.acc(0))),
        ),
        "least": (
            code(lambda b: b.select(b.flt(b.load(0), b.acc()), b.load(0), b.acc())),
            code(lambda b: b.select(b.flt(b.acc(1), b.acc(0)), b.acc(1), b.acc(0))),
        ),
        "greatest, not a number too": (
            code(lambda b: b.select(b.flt(b.load(0), b.acc()), b.acc(), b.load(0))),
            code(lambda b: b.select(b.flt(b.acc(1), b.acc(0)), b.acc(0), b.acc(1))),
        ),
        "greatest integer": (
            code(lambda b: b.select(b.ilt(b.acc(), b.load(0)), b.load(0), b.acc())),
            code(lambda b: b.select(b.ilt(b.acc(0), b.acc(1)), b.acc(1), b.acc(0))),
        ),
    }


@cache
def reductions() -> Case_:
    """Sums and greatest elements, of floats, of raw bits read as floats, and of narrow floats, with special words."""
    kernels = []
    for (name, (body, merge)), value in product(known_bodies().items(), (FLOAT, BIT, HALF)):
        loads = 2 if name == "sum of squares" else 1
        turns = ((1, (21,), 19, 8), (16, (3,), 70, 512), (4, (2, 17), 9, 4))
        for lanes, out_shape, steps, block in turns if value == FLOAT else turns[:2]:
            shape = (*out_shape, steps)
            views = (View(value, dense(shape)), View(value, transposed(shape)))[:loads]
            init = 0xFF800000 if name.startswith("greatest") else 0x7F800000 if name == "least" else 0
            fold = Fold((init,), lanes, block, merge, code(lambda b: b.acc()))
            kernels.append(Kernel(out_shape, (steps,), views, body, (DType.I32,), fold))
    return case_of(kernels)


def test_the_folds_of_models_on_special_words(impl: Implementation) -> None:
    case, want = reductions()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


@cache
def arg_greatest() -> Case_:
    """The greatest element and where it is: two accumulators that are chosen together. Ties take the first."""
    builder = CodeBuilder()
    x, index = builder.load(0), builder.index(1)
    more = builder.flt(builder.acc(0), x)
    body, _ = builder.build(builder.select(more, x, builder.acc(0)), builder.select(more, index, builder.acc(1)))
    builder = CodeBuilder()
    a, b, i, j = builder.acc(0), builder.acc(2), builder.acc(1), builder.acc(3)
    more = builder.or_(builder.flt(a, b), builder.and_(builder.feq(a, b), builder.ilt(j, i)))
    merge, _ = builder.build(builder.select(more, b, a), builder.select(more, j, i))
    both = combine(lambda b: [b.acc(0), b.acc(1)])
    kernels = []
    for lanes, out_shape, steps, block in ((1, (19,), 12, 4), (8, (5,), 33, 16), (16, (), 50, 512), (1, (3,), 1, 1)):
        fold = Fold((0xFF800000, 0), lanes, block, merge, both)
        for value in (FLOAT, HALF):
            views = (View(value, dense((*out_shape, steps))),)
            if not out_shape:
                views = (View(value, Address(0, (1,))),)
            indexed = (
                body
                if out_shape
                else Code(
                    tuple(i if i.op is not Op.INDEX else type(i)(Op.INDEX, (), 0) for i in body.instructions),
                    body.results,
                )
            )
            kernels.append(Kernel(out_shape, (steps,), views, indexed, (DType.F32, DType.I32), fold))
    return case_of(kernels)


def test_accumulators_that_are_chosen_together(impl: Implementation) -> None:
    case, want = arg_greatest()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


@cache
def contractions() -> Case_:
    """Matrix products and windows whose operands are padded, broadcast, reversed and narrow; epilogues that load."""
    body = code(lambda b: b.ffma(b.load(0), b.load(1), b.acc()))
    add = code(lambda b: b.fadd(b.acc(0), b.acc(1)))
    plain = code(lambda b: b.acc())
    biased = code(
        lambda b: b.select(b.flt(b.word(0), b.fadd(b.acc(), b.load(2))), b.fadd(b.acc(), b.load(2)), b.step())
    )
    bias = View(FLOAT, Address(7, (0, 3, 0)))
    kernels = []
    for m, n, k, block in ((5, 7, 3, 512), (17, 33, 20, 8), (1, 40, 9, 4), (40, 1, 9, 512), (9, 16, 33, 16)):
        left, right = Address(0, (k, 0, 1)), Address(1, (0, 1, n))
        reverse = Address(k * n - 1, (0, -1, -n))
        padded = Address(-2, (k, 0, 1), (), (Guard(-2, (0, 0, 1), k - 2),)) if k > 2 else left
        for a, b in (
            (View(FLOAT, left), View(FLOAT, right)),
            (View(HALF, left), View(FLOAT, reverse)),
            (View(FLOAT, padded, 0x3F000000), View(HALF, right)),
        ):
            with_bias = len(kernels) % 2 == 1
            views = (a, b, bias) if with_bias else (a, b)
            fold = Fold((0,), 1, block, add, biased if with_bias else plain)
            kernels.append(Kernel((m, n), (k,), views, body, (DType.F32,), fold))
    return case_of(kernels)


def test_contractions(impl: Implementation) -> None:
    case, want = contractions()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


@cache
def scans() -> Case_:
    """Running sums and recurrences: every step is stored, and what is stored is not what is carried."""
    kernels = []
    for (out_shape, length), count in product([((), 20), ((3,), 17), ((20,), 5), ((2, 19), 4)], (1, 3)):
        body, merge, _ = noting(count)
        shape = (*out_shape, length)
        builder = CodeBuilder()
        total, index = builder.acc(0), builder.index(len(out_shape))
        epilogue, _ = builder.build(builder.fadd(total, builder.load(1)), builder.iadd(index, total))
        views = (View(BIT, transposed(shape)), View(FLOAT, dense(shape)))
        fold = Fold((1, 2, 3)[:count], 1, length + count, merge, epilogue, scan=True)
        kernels.append(Kernel(out_shape, (length,), views, body, (DType.BF16, DType.I32), fold))
    return case_of(kernels)


def test_scans(impl: Implementation) -> None:
    case, want = scans()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


def test_tensors_hold_special_words() -> None:
    """What these tests rest on: not-a-number, infinities, zeros of both signs and subnormals are among the data."""
    words = {FLOATS.load(i) for i in range(4000)}
    assert {0x7FC00000, 0x7F800000, 0xFF800000, 0, 0x80000000, 1, 0x80000001} <= words
    assert isinstance(FLOATS, Tensor)
