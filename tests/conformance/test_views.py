"""Addresses and scatters: strides of all kinds, guards, gathers, and the order in which words are placed."""

from __future__ import annotations

from functools import cache
from itertools import product

from conformance.implementations import Implementation, assert_same_words
from conformance.test_folds import BIT, FLOAT, HALF, Case_, case_of, dense
from sample_programs import COPY, code
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.kernels import Kernel, Scatter
from tallystick.spec.tensors import DType
from tallystick.spec.views import Address, Guard, View

SHAPES = [(70,), (5, 37), (37, 5), (3, 4, 16), (2, 3, 2, 19), (2, 2, 2, 2, 2, 2, 2, 2)]


@cache
def affine() -> Case_:
    """Broadcast, strided, transposed, reversed, shifted; copied to a raw word, a float and a byte."""
    kernels = []
    for shape in SHAPES:
        axes = len(shape)
        strides = [dense(shape).strides, dense(shape[::-1]).strides[::-1], (0,) * axes]
        strides += [(0,) * (axes - 1) + (1,), (1,) + (0,) * (axes - 1), tuple(-s for s in dense(shape).strides)]
        strides += [tuple(3 * s for s in dense(shape).strides), (1,) * axes, (-2,) * axes]
        for number, steps in enumerate(strides):
            base = 2000 if min(steps) < 0 else number
            value, dtype = ((FLOAT, DType.F32), (BIT, DType.I8), (HALF, DType.BF16), (BIT, DType.BOOL))[number % 4]
            kernels.append(Kernel(shape, (), (View(value, Address(base, steps)),), COPY, (dtype,)))
    return case_of(kernels)


def test_strides(impl: Implementation) -> None:
    case, want = affine()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


@cache
def guarded() -> Case_:
    """Guards on the contiguous axis, across axes, never open, always open, several at once; fills that are NaNs."""
    body = code(lambda b: b.xor(b.fadd(b.load(0), b.load(1)), b.load(2)))
    kernels = []
    for shape in SHAPES[:5]:
        axes = len(shape)
        last, first, all_axes = (0,) * (axes - 1) + (1,), (1,) + (0,) * (axes - 1), (1,) * axes
        down = tuple(-2 for _ in shape)
        choices = [
            (Guard(-3, last, 9),),
            (Guard(0, first, 1), Guard(-1, last, 3)),
            (Guard(-5, all_axes, 7), Guard(20, down, 30)),
            (Guard(5, (0,) * axes, 5),),
            (Guard(4, (0,) * axes, 5), Guard(0, last, 1)),
        ]
        for guards, other in product(choices, choices[:2]):
            views = (
                View(FLOAT, Address(1000, dense(shape).strides, (), guards), 0xFFC00001),
                View(HALF, Address(1000, last, (), other), 0x00000001),
                View(BIT, Address(1000, down, (), guards[:1]), 0x7F800123),
            )
            kernels.append(Kernel(shape, (), views, body, (DType.I32,)))
    return case_of(kernels)


def test_guards(impl: Implementation) -> None:
    case, want = guarded()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


@cache
def gathered() -> Case_:
    """Addresses from loaded words, from divided indices, from two terms; often outside, with huge words too."""
    kernels = []
    for shape in SHAPES[:4]:
        axes = len(shape)
        last = (0,) * (axes - 1) + (1,)
        for modulus, stride, guards in ((7, 3, ()), (4096, 1, ()), (0, 1 << 20, ()), (5, -2, (Guard(-2, last, 30),))):
            builder = CodeBuilder()
            word = builder.load(0)
            index = builder.irem(word, builder.word(modulus))  # by 0, the word itself
            third = builder.idiv(builder.index(axes - 1), builder.word(3))
            fetched, other = builder.load(1), builder.load(2)
            body, place = builder.build(
                builder.iadd(fetched, builder.imul(other, builder.word(5))), keep=(index, third)
            )
            views = (
                View(BIT, dense(shape)),
                View(FLOAT, Address(9, last, ((stride, place[index]), (2, place[third])), guards), 0x7FC00001),
                View(HALF, Address(3, dense(shape).strides, ((-7, place[third]),), guards), 77),
            )
            kernels.append(Kernel(shape, (), views, body, (DType.I32,)))
    return case_of(kernels)


def test_computed_addresses(impl: Implementation) -> None:
    case, want = gathered()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)


def scatter_kernel(shape: tuple[int, ...], made: DType, address_of: tuple[int, int], how: str, guard: bool) -> Kernel:
    """Places words of a source shape into 60 elements.

    ``address_of`` is the stride of a computed term (a loaded word modulo 13) and of the last axis.
    """
    builder = CodeBuilder()
    row = builder.irem(builder.load(0), builder.word(13))
    word = builder.iadd(builder.load(1), builder.index(0))
    body, place = builder.build(word, keep=(row,))
    axes = len(shape)
    last = (0,) * (axes - 1) + (1,)
    guards = (Guard(-1, last, shape[-1] - 2),) if guard else ()
    strides = (0,) * (axes - 1) + (address_of[1],)
    address = Address(2, strides, ((address_of[0], place[row]),), guards)
    merges = {
        "place": None,
        "add": code(lambda b: b.fadd(b.acc(0), b.acc(1))),
        "note": code(lambda b: b.iadd(b.imul(b.acc(0), b.word(31)), b.acc(1))),
    }
    base = {DType.F32: FLOAT, DType.I32: BIT, DType.BF16: HALF}[made] if how == "add" else None
    out = (4000,) if base is not None else (60,)
    views = (View(BIT, dense(shape)), View(FLOAT, dense(shape, 100)))
    scatter = Scatter(out, base, 0x80000000, address, merges[how])
    return Kernel(shape, (), views, body, (made,), None, scatter)


@cache
def scattered() -> Case_:
    """Source points that meet in one element, in vectors and in single words, with and without a base."""
    kernels = []
    for shape, made in product(((80,), (7, 20), (3, 2, 16)), (DType.F32, DType.I32, DType.BF16)):
        for number, address_of in enumerate(((1, 0), (20, 1), (1, 1), (3, -1))):
            how = ("place", "add", "note")[(number + len(kernels)) % 3]
            kernels.append(scatter_kernel(shape, made, address_of, how, guard=number % 2 == 1))
    return case_of(kernels)


def test_scatters(impl: Implementation) -> None:
    case, want = scattered()
    assert_same_words(case, case.program.value_types, impl.trace(case), want)
