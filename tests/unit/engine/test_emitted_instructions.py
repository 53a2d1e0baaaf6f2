"""Every instruction and every storage type, on words at their edges, for every target."""

from __future__ import annotations

import numpy as np
import pytest

from engine_kernels import SPECIAL, all_targets, as_type, assert_as_specified, code, words
from tallystick.spec.instructions import ARITY, SOURCES, Op
from tallystick.spec.kernels import Kernel
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, View

COMPUTING = [op for op in Op if op not in SOURCES]
LANE = Address(0, (1,))


def operands() -> list[np.ndarray]:
    """Three operands: all pairs of special words for the first two, and random words."""
    a, b = (grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL))
    c = np.random.default_rng(1).permutation(a)
    chance = [words(90, seed=seed).view(np.uint32) for seed in (2, 3, 4)]
    return [np.concatenate([known, random]).view(np.int32) for known, random in zip((a, b, c), chance, strict=True)]


def test_instructions_on_special_words():
    arrays = operands()
    count = len(arrays[0])
    for first in range(0, len(COMPUTING), 4):
        some = COMPUTING[first : first + 4]
        slots = max(ARITY[op] for op in some)
        body = code(
            lambda b, some=some, n=slots: [b.emit(op, *[b.load(i) for i in range(n)][: ARITY[op]]) for op in some]
        )
        loads = tuple(View(number, LANE) for number in range(slots))
        assert_as_specified(Kernel((count,), (), loads, body, (DType.I32,) * len(some)), arrays)


@pytest.mark.parametrize("divisor", [0, 1, -1, 7, -3, 1 << 31, 64])
def test_division_by_a_constant(divisor: int):
    array = np.concatenate([SPECIAL, words(66).view(np.uint32)]).view(np.int32)

    body = code(lambda b: [b.idiv(b.load(0), b.word(divisor)), b.irem(b.load(0), b.word(divisor))])
    assert_as_specified(Kernel((100,), (), (View(0, LANE),), body, (DType.I32, DType.I32)), [array])


def test_scalars_are_as_vectors():
    """A kernel of one point has no vectors; what does not vary along a row is computed in scalars."""
    arrays = [np.array([0x7F800001, 0x80000000, 3], np.uint32).view(np.int32), words(40)]
    picks = tuple(View(0, Address(number, (0,))) for number in range(3))
    body = code(
        lambda b: [
            b.xor(b.ffma(b.load(0), b.load(1), b.load(2)), b.load(3)),
            b.iadd(b.f2i(b.fneg(b.fadd(b.load(0), b.load(1)))), b.load(3)),
            b.fadd(b.frint(b.load(1)), b.i2f(b.load(3))),
        ]
    )
    loads = (*picks, View(1, LANE))
    assert_as_specified(Kernel((40,), (), loads, body, (DType.I32, DType.I32, DType.F32)), arrays)
    assert_as_specified(Kernel((1,), (), loads, body, (DType.I32, DType.I32, DType.F32)), [arrays[0], arrays[1][:1]])


def test_nan_words_become_visible_only_as_specified():
    """Signs, magnitudes, choices and integer readings of results that are NaN."""
    a = np.resize(SPECIAL, 170).view(np.int32)
    b_words = np.repeat(SPECIAL, 5).view(np.int32)

    def write(b):
        x, y = b.load(0), b.load(1)
        total = b.fadd(x, y)
        odd = b.xor(total, b.word(0x80000000))
        chosen = b.select(b.flt(x, y), total, b.xor(x, b.word(0x80000000)))
        return [
            b.iadd(b.fabs(b.fneg(total)), b.word(1)),
            b.select(b.feq(x, x), odd, b.fmul(total, y)),
            b.iadd(chosen, b.word(0)),
            b.or_(b.select(b.ieq(x, y), b.fmul(x, y), b.word(0xFFFFFFFF)), b.word(0)),
        ]

    kernel = Kernel((170,), (), (View(0, LANE), View(1, LANE)), code(write), (DType.I32,) * 4)
    assert_as_specified(kernel, [a, b_words])
    stored = Kernel((170,), (), kernel.loads, kernel.body, (DType.F32, DType.F32, DType.BF16, DType.F16))
    assert_as_specified(stored, [a, b_words])


@pytest.mark.parametrize("dtype", list(DType))
def test_widening_every_element(dtype: DType):
    count = {1: 256, 2: 65536, 4: 2000}[dtype.size]
    raw = np.arange(count, dtype=np.uint32) if dtype.size < 4 else words(count).view(np.uint32)
    if dtype == DType.F32:
        raw[(raw & 0x7FFFFFFF) > 0x7F800000] = 0x7FC00000
    if dtype == DType.BOOL:
        raw = raw[:2]
    array = as_type(dtype, raw)
    kernel = Kernel(array.shape, (), (View(0, LANE),), code(lambda b: b.load(0)), (DType.I32,))
    assert_as_specified(kernel, [array], types=[TensorType(dtype, array.shape)])


@pytest.mark.parametrize("dtype", list(DType))
def test_narrowing(dtype: DType):
    halves = (np.arange(1 << 11, dtype=np.uint32) << 21) | 0x00100000  # ties of bfloat16 and of binary16
    near = np.concatenate([halves - np.uint32(1), halves, halves + np.uint32(1)])
    array = np.concatenate([SPECIAL, near, words(1000).view(np.uint32)]).view(np.int32)
    kernel = Kernel(array.shape, (), (View(0, LANE),), code(lambda b: b.load(0)), (dtype,))
    assert_as_specified(kernel, [array])


def test_targets_cover_a_machine_without_fma():
    assert any(not target.has_fma for target in all_targets()) or all_targets()[0].isa == "neon"
