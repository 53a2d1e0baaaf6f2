"""Contractions with few rows or columns, bit for bit against the specification, other targets and groupings."""

from __future__ import annotations

import numpy as np
import pytest

from contraction_runs import assert_as_specified, contraction, matched, matmul_views, random_operand
from tallystick.engine.contraction_stream import Stream, choose
from tallystick.engine.target import Target, runnable
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.kernels import Kernel
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

TARGETS = [Target(isa) for isa in runnable()]
FAST = TARGETS[:-1] or TARGETS


def f32(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def streams(kernel: Kernel, types: list[TensorType], target: Target = TARGETS[0]) -> Stream | None:
    found = matched(kernel, types)
    assert found is not None
    return choose(found, target)


def check(kernel: Kernel, types: list[TensorType], seed: int, targets: list[Target] = FAST) -> None:
    """All targets agree with the specification, and the best of them streams."""
    assert streams(kernel, types) is not None
    rng = np.random.default_rng(seed)
    assert_as_specified(kernel, [random_operand(type, rng) for type in types], types, targets, seed, 6)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [(1, 300, 37), (1, 17, 600), (3, 70, 48), (4, 33, 19), (70, 3, 40), (35, 1, 530), (2, 131, 16)],
)
def test_few_of_one_side(m: int, n: int, k: int, across: bool) -> None:
    """Strips that end in the middle of a vector, steps that end in the middle of a square, several blocks."""
    few_rows = m < n
    types = [
        f32(k, m) if across and not few_rows else f32(m, k),
        f32(n, k) if across and few_rows else f32(k, n),
    ]
    views = matmul_views(m, n, k, across and not few_rows, across and few_rows)
    check(contraction((m, n), (k,), views), types, m + n + k, TARGETS if k < 50 else FAST)


@pytest.mark.parametrize("few", [5, 8])
def test_more_of_them_where_registers_allow(few: int) -> None:
    kernel, types = contraction((few, 90), (50,), matmul_views(few, 90, 50, False, True)), [f32(few, 50), f32(90, 50)]
    if streams(kernel, types) is None:
        pytest.skip("this machine has no wide vectors")
    check(kernel, types, few)


@pytest.mark.parametrize("block", [1, 24, 64])
def test_blocks_of_any_length(block: int) -> None:
    for across in (False, True):
        types = [f32(2, 150), f32(40, 150) if across else f32(150, 40)]
        check(contraction((2, 40), (150,), matmul_views(2, 40, 150, False, across), block), types, block)


@pytest.mark.parametrize("pitch", [30, 4000])
def test_a_new_token_looks_at_the_cache_of_its_head(pitch: int) -> None:
    """Scores and their products in decoding: heads are the batch, one row each; rows of a cache near or far apart."""
    heads, tokens, width = 3, 45, 20
    query = View(0, Address(0, (width, 0, 1)))
    key = View(1, Address(5, (pitch * tokens, pitch, 1)))
    check(contraction((heads, tokens), (width,), (query, key)), [f32(heads, width), f32(heads * tokens * pitch)], 1)
    weights = View(0, Address(0, (tokens, 0, 1)))
    value = View(1, Address(5, (pitch * tokens, 1, pitch)))
    check(
        contraction((heads, width), (tokens,), (weights, value)), [f32(heads, tokens), f32(heads * tokens * pitch)], 2
    )


@pytest.mark.parametrize("dtype", [DType.BF16, DType.F16])
def test_half_precision_weights_are_widened(dtype: DType) -> None:
    for across in (False, True):
        types = [f32(2, 70), TensorType(dtype, (50, 70) if across else (70, 50))]
        check(contraction((2, 50), (70,), matmul_views(2, 50, 70, False, across)), types, 3, TARGETS)


def test_without_optimisation() -> None:
    for across in (False, True):
        types = [f32(2, 40), f32(37, 40) if across else f32(40, 37)]
        check(
            contraction((2, 37), (40,), matmul_views(2, 37, 40, False, across)),
            types,
            4,
            [Target(FAST[0].isa, 0), *FAST],
        )


def test_epilogues_see_where_they_are() -> None:
    m, n, k = 2, 75, 18
    b = CodeBuilder()
    value = b.fadd(b.fadd(b.acc(), b.load(2)), b.load(3))
    epilogue, _ = b.build(value, b.iadd(b.index(0), b.imul(b.index(1), b.step())))
    views = (*matmul_views(m, n, k, False, True), View(2, Address(0, (0, 1, 0))), View(3, Address(0, (2, 0, 0))))
    kernel = contraction((m, n), (k,), views, 512, epilogue, (DType.F32, DType.I32))
    check(kernel, [f32(m, k), f32(n, k), f32(n), f32(2 * m)], 5, TARGETS)


def test_what_does_not_stream() -> None:
    """Many of both sides, guards, strides, steps fewer than a square."""
    plain = matmul_views(1, 40, 50)
    assert streams(contraction((1, 40), (50,), plain), [f32(1, 50), f32(50, 40)]) is not None
    many = contraction((20, 40), (50,), matmul_views(20, 40, 50))
    assert streams(many, [f32(20, 50), f32(50, 40)]) is None
    guarded = View(1, Address(0, (0, 1, 40), (), (Guard(0, (0, 0, 1), 49),)))
    assert streams(contraction((1, 40), (50,), (plain[0], guarded)), [f32(1, 50), f32(50, 40)]) is None
    strided = View(1, Address(0, (0, 2, 80)))
    assert streams(contraction((1, 40), (50,), (plain[0], strided)), [f32(1, 50), f32(50, 80)]) is None
    short = contraction((1, 40), (3,), matmul_views(1, 40, 3, False, True))
    assert streams(short, [f32(1, 3), f32(40, 3)]) is None
