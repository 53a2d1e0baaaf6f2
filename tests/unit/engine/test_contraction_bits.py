"""Contractions as machine code, bit for bit against the specification, other targets and other groupings of tasks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contraction_runs import (
    Convolution,
    assert_as_specified,
    batched_views,
    contraction,
    matmul_views,
    random_operand,
)
from tallystick.engine.target import Isa, Target, runnable
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.kernels import Kernel
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

TARGETS = [Target(isa) for isa in runnable()]
FAST = TARGETS[:-1] or TARGETS


def check(
    kernel: Kernel, types: list[TensorType], seed: int, targets: list[Target] = TARGETS, samples: int = 8
) -> None:
    rng = np.random.default_rng(seed)
    assert_as_specified(kernel, [random_operand(type, rng) for type in types], types, targets, seed, samples)


def f32(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


# MATRIX PRODUCTS


@pytest.mark.parametrize("across", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize(("m", "n", "k"), [(1, 40, 5), (50, 1, 33), (29, 67, 19), (130, 100, 70)])
def test_matrix_product(m: int, n: int, k: int, across: tuple[bool, bool]) -> None:
    types = [f32(k, m) if across[0] else f32(m, k), f32(n, k) if across[1] else f32(k, n)]
    check(contraction((m, n), (k,), matmul_views(m, n, k, *across)), types, m + n + k)


@pytest.mark.parametrize("block", [1, 16, 24, 512, 700, 1024, 4096])
def test_blocks_of_any_length(block: int) -> None:
    """Chains end where the specification ends them, and packed chunks end elsewhere."""
    check(
        contraction((17, 35), (1100,), matmul_views(17, 35, 1100), block),
        [f32(17, 1100), f32(1100, 35)],
        block,
        FAST,
        3,
    )


def test_totals_of_several_chunks_are_kept_for_several_fast_blocks() -> None:
    kernel = contraction((40, 2600), (600,), matmul_views(40, 2600, 600), 256)
    check(kernel, [f32(40, 600), f32(600, 2600)], 1, FAST, 4)


def test_an_operand_too_large_to_pack_in_advance() -> None:
    from tallystick.engine import gemm_blocking

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gemm_blocking, "SHARED_WORDS", 0)
        patch.setattr(gemm_blocking, "FAST_WORDS", 64 * 128)
        kernel = contraction((150, 300), (128,), matmul_views(150, 300, 128))
        check(kernel, [f32(150, 128), f32(128, 300)], 2, FAST)


def test_batches() -> None:
    check(contraction((3, 20, 40), (9,), batched_views(3, 20, 40, 9)), [f32(3, 20, 9), f32(3, 9, 40)], 3)


def test_batches_of_several_tasks_each() -> None:
    kernel = contraction((3, 300, 70), (600,), batched_views(3, 300, 70, 600))
    check(kernel, [f32(3, 300, 600), f32(3, 600, 70)], 13, FAST, 3)


def test_the_batch_may_be_the_last_axis() -> None:
    """Neighbours in the output then belong to different products, and stores are strided."""
    a, b = View(0, Address(0, (9, 0, 20 * 9, 1))), View(1, Address(0, (0, 9, 40 * 9, 1)))
    check(contraction((20, 40, 3), (9,), (a, b)), [f32(3, 20, 9), f32(3, 40, 9)], 4)


def test_heads_between_tokens_and_features() -> None:
    """Attention scores of (batch, token, head, feature) tensors as they come out of a linear layer."""
    b, t, h, d = 2, 19, 3, 8
    query = View(0, Address(0, (t * h * d, d, h * d, 0, 1)))
    key = View(1, Address(0, (t * h * d, d, 0, h * d, 1)))
    check(contraction((b, h, t, t), (d,), (query, key)), [f32(b, t, h, d), f32(b, t, h, d)], 5)


@pytest.mark.parametrize("dtype", [DType.BF16, DType.F16])
def test_half_precision_operands_are_widened(dtype: DType) -> None:
    types = [TensorType(dtype, (30, 20)), TensorType(dtype, (50, 20))]
    check(contraction((30, 50), (20,), matmul_views(30, 50, 20, False, True)), types, 6)


@pytest.mark.parametrize("isa", runnable())
def test_without_optimisation(isa: Isa) -> None:
    kernel = contraction((29, 67), (19,), matmul_views(29, 67, 19))
    check(kernel, [f32(29, 19), f32(19, 67)], 7, [Target(isa, 0), Target(isa, 3)])


# CONVOLUTIONS

CONVOLUTIONS = {
    "3x3, padded": Convolution(2, 3, 8, 8, 5, 3, padding=1),
    "3x3, small images": Convolution(3, 4, 4, 4, 17, 3, padding=1),
    "3x3, odd images": Convolution(2, 3, 7, 5, 6, 3, padding=1),
    "3x3, images of a few points": Convolution(5, 3, 2, 3, 4, 3, padding=1),
    "2x2, no padding": Convolution(2, 3, 9, 17, 4, 2),
    "1x1": Convolution(2, 20, 5, 5, 18, 1),
    "whole image": Convolution(20, 2, 4, 4, 30, 4),
}


@pytest.mark.parametrize("kind", ["forward", "input_gradient", "weight_gradient"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name: str, kind: str) -> None:
    out, reduce, views, shapes = getattr(CONVOLUTIONS[name], kind)
    check(contraction(out, reduce, views, 64), [f32(*shape) for shape in shapes], len(name), samples=5)


@pytest.mark.parametrize("kind", ["forward", "weight_gradient"])
@pytest.mark.parametrize("case", [Convolution(2, 3, 9, 11, 5, 3, 2, 1), Convolution(2, 3, 12, 12, 20, 4, 4)])
def test_strided_convolution(case: Convolution, kind: str) -> None:
    out, reduce, views, shapes = getattr(case, kind)
    check(contraction(out, reduce, views), [f32(*shape) for shape in shapes], 8, samples=5)


def test_fill_of_a_closed_guard_takes_part() -> None:
    out, reduce, (x, weight), shapes = Convolution(2, 3, 6, 6, 5, 3, padding=2).forward
    x = View(x.value, x.address, fill=0xC0490FDB)
    check(contraction(out, reduce, (x, weight)), [f32(*shape) for shape in shapes], 9)


# EPILOGUES


@pytest.mark.parametrize("limit", [3_000_000_000, 1 << 32, 1 << 40])
def test_limits_beyond_what_lanes_can_hold(limit: int) -> None:
    """Rows 0 and 1 are closed: their guards lie far below 0."""
    a, b = matmul_views(4, 40, 8)
    guard = Guard(2 - (1 << 31), (1 << 30, 0, 0), limit)
    guarded = View(0, Address(0, a.address.strides, (), (guard,)))
    check(contraction((4, 40), (8,), (guarded, b)), [f32(4, 8), f32(8, 40)], 11)


def test_bias_activation_and_several_outputs() -> None:
    m, n, k = 21, 45, 12
    b = CodeBuilder()
    value = b.fadd(b.fadd(b.acc(), b.load(2)), b.load(3))  # a bias per column and one per row
    zero = b.word(0)
    relu = b.select(b.flt(zero, value), value, zero)
    residual = b.fadd(relu, b.load(4))
    where = b.flt(zero, value)
    epilogue, _ = b.build(relu, residual, where, b.iadd(b.index(0), b.imul(b.index(1), b.step())))
    views = (
        *matmul_views(m, n, k),
        View(2, Address(3, (0, 1, 0))),
        View(3, Address(0, (2, 0, 0))),
        View(4, Address(0, (1, m, 0), (), (Guard(-5, (0, 1, 0), 37),)), fill=0x3F800000),
    )
    outputs = (DType.F32, DType.BF16, DType.BOOL, DType.I32)
    types = [f32(m, k), f32(k, n), f32(n + 3), f32(2 * m), f32(n, m)]
    check(contraction((m, n), (k,), views, 512, epilogue, outputs), types, 10)


def test_bias_over_channels_of_small_images() -> None:
    """Runs of columns end at every image, in the middle of vectors."""
    out, reduce, views, shapes = Convolution(3, 4, 5, 3, 6, 3, padding=1).forward
    b = CodeBuilder()
    epilogue, _ = b.build(b.fmul(b.fadd(b.acc(), b.load(2)), b.i2f(b.index(3))))
    bias = View(2, Address(0, (0, 1, 0, 0, 0, 0, 0)))
    check(contraction(out, reduce, (*views, bias), 512, epilogue), [*(f32(*shape) for shape in shapes), f32(6)], 11)


def test_element_picked_by_an_index() -> None:
    """An epilogue may read where another load says."""
    m, n, k = 19, 33, 7
    b = CodeBuilder()
    index = b.load(2)
    picked = b.load(3)
    epilogue, place = b.build(b.fadd(b.acc(), picked), keep=(index,))
    views = (
        *matmul_views(m, n, k),
        View(2, Address(0, (1, 0, 0))),
        View(3, Address(0, (0, 1, 0), ((n, place[index]),)), fill=0x40000000),
    )
    types = [f32(m, k), f32(k, n), TensorType(DType.I32, (m,)), f32(50, n)]
    check(contraction((m, n), (k,), views, 512, epilogue), types, 12)


# ANYTHING


@st.composite
def contractions(draw: st.DrawFn) -> tuple[Kernel, list[TensorType]]:
    """Operands that walk random axes with random strides and guards, in random order."""
    roles = draw(st.permutations([*draw(st.lists(st.sampled_from("mnb"), min_size=1, max_size=3)), "m", "n"]))
    out = [draw(st.sampled_from([1, 2, 3, 5, 8, 17, 33]) if i < 2 else st.integers(1, 5)) for i in range(len(roles))]
    reduce = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    views, types = [], []
    for value, mine in enumerate(("mb", "nb")):
        walks = [role in mine for role in roles] + [True] * len(reduce)
        extents = out + reduce
        unit = draw(st.integers(0, len(extents) - 1))
        strides = [(1 if axis == unit else draw(st.integers(-6, 12))) if walk else 0 for axis, walk in enumerate(walks)]
        ends = [stride * (extent - 1) for stride, extent in zip(strides, extents, strict=True)]
        low, high = sum(e for e in ends if e < 0), sum(e for e in ends if e > 0)
        guards = []
        for _ in range(draw(st.integers(0, 2))):
            steps = [draw(st.integers(-2, 2)) if walk else 0 for walk in walks]
            guards.append(Guard(draw(st.integers(-4, 4)), tuple(steps), draw(st.integers(1, 20))))
        views.append(
            View(value, Address(-low, tuple(strides), (), tuple(guards)), draw(st.sampled_from([0, 0x3F000000])))
        )
        types.append(f32(high - low + 1))
    block = draw(st.sampled_from([5, 16, 64, 512]))
    b = CodeBuilder()
    epilogue, _ = b.build(b.fadd(b.acc(), b.load(2)))
    bias = View(2, Address(0, tuple(int(i == len(out) - 1) for i in range(len(out) + len(reduce)))))
    return contraction(out, reduce, (*views, bias), block, epilogue), [*types, f32(out[-1])]


def _check_any(case: tuple[Kernel, list[TensorType]], seed: int) -> None:
    from contraction_runs import matched

    kernel, types = case
    if matched(kernel, types) is not None:
        check(kernel, types, seed, FAST, samples=4)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contractions(), st.integers(0, 99))
def test_any_contraction(case: tuple[Kernel, list[TensorType]], seed: int) -> None:
    _check_any(case, seed)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contractions(), st.integers(0, 99))
def test_very_many_contractions(case: tuple[Kernel, list[TensorType]], seed: int) -> None:
    _check_any(case, seed)
