"""Operands that tiles read where they lie, and results that they write in place: when, and with the same bits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from contraction_runs import assert_as_specified, bits, contraction, matched, matmul_views, random_operand, run_code
from tallystick.engine import gemm_blocking
from tallystick.engine.contraction import Contraction
from tallystick.engine.contraction_direct import MOST_TILES, NEAR, layout, result_pitch
from tallystick.engine.gemm_tiles import PanelLayout, TileFormat
from tallystick.engine.target import Target, runnable
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import Code
from tallystick.spec.kernels import Kernel
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

TILES = TileFormat.of(Target("avx512"))
TARGETS = [Target(isa) for isa in runnable()]


def f32(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def product(m: int, k: int, n: int, a_across: bool = False, b_across: bool = False) -> tuple[Kernel, list[TensorType]]:
    types = [f32(k, m) if a_across else f32(m, k), f32(n, k) if b_across else f32(k, n)]
    return contraction((m, n), (k,), matmul_views(m, n, k, a_across, b_across)), types


def found(kernel: Kernel, types: list[TensorType]) -> Contraction:
    contraction = matched(kernel, types)
    assert contraction is not None
    return contraction


def twice_the_sum() -> Code:
    b = CodeBuilder()
    return b.build(b.fadd(b.acc(), b.acc()))[0]


# WHEN


def test_rows_along_steps_are_streams_of_their_own() -> None:
    assert layout(found(*product(50, 70, 40)), "rows", TILES) == PanelLayout(70, 1, packed=False)


def test_rows_side_by_side_are_read_where_steps_are_near() -> None:
    assert layout(found(*product(50, 70, 40, a_across=True)), "rows", TILES) == PanelLayout(1, 50, packed=False)
    assert layout(found(*product(NEAR, 70, 40, a_across=True)), "rows", TILES) is not None
    assert layout(found(*product(NEAR + 1, 70, 97, a_across=True)), "rows", TILES) is None
    assert layout(found(*product(NEAR + 1, 70, 96, a_across=True)), "rows", TILES) is not None


def test_columns_are_read_in_whole_vectors() -> None:
    assert layout(found(*product(50, 70, 48)), "columns", TILES) == PanelLayout(1, 48, packed=False)
    assert layout(found(*product(50, 70, 40)), "columns", TILES) is None
    assert layout(found(*product(50, 70, 48, b_across=True)), "columns", TILES) is None


def test_the_farther_steps_of_columns_the_fewer_rows_may_read_them() -> None:
    for choices in MOST_TILES.values():
        assert all(near < far and most > few for (near, most), (far, few) in pairwise(choices))
    assert layout(found(*product(3 * TILES.rows, 9, 1024)), "columns", TILES) is not None
    assert layout(found(*product(3 * TILES.rows + 1, 9, 1024)), "columns", TILES) is None


def test_guards_and_narrow_operands_are_packed() -> None:
    a, b = matmul_views(20, 32, 9)
    guarded = View(0, Address(0, a.address.strides, (), (Guard(0, (1, 0, 0), 19),)))
    assert layout(found(contraction((20, 32), (9,), (guarded, b)), [f32(20, 9), f32(9, 32)]), "rows", TILES) is None
    narrow = [TensorType(DType.BF16, (20, 9)), TensorType(DType.BF16, (9, 32))]
    for side in ("rows", "columns"):
        assert layout(found(contraction((20, 32), (9,), (a, b)), narrow), side, TILES) is None


def test_a_result_is_written_in_place_if_it_is_the_sum_in_whole_vectors() -> None:
    views, types = matmul_views(20, 32, 9), [f32(20, 9), f32(9, 32)]
    assert result_pitch(found(contraction((20, 32), (9,), views), types), TILES) == 32
    assert result_pitch(found(*product(20, 9, 40)), TILES) is None
    doubled = contraction((20, 32), (9,), views, epilogue=twice_the_sum())
    assert result_pitch(found(doubled, types), TILES) is None
    assert result_pitch(found(contraction((20, 32), (9,), views, outputs=(DType.BF16,)), types), TILES) is None


# BITS


@pytest.mark.parametrize("across", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize(("m", "k", "n"), [(15, 33, 32), (64, 600, 16), (43, 1100, 80), (16, 3, 128)])
def test_products_in_whole_vectors(m: int, k: int, n: int, across: tuple[bool, bool]) -> None:
    kernel, types = product(m, k, n, *across)
    rng = np.random.default_rng(m + k + n)
    assert_as_specified(kernel, [random_operand(type, rng) for type in types], types, TARGETS, seed=k, samples=4)


def test_totals_in_place_go_on_from_chunk_to_chunk() -> None:
    """Chains that end in a chunk are merged with what the result holds; one that does not goes on from it."""
    for block in (16, 1000):
        kernel = contraction((30, 48), (100,), matmul_views(30, 48, 100), block)
        types = [f32(30, 100), f32(100, 48)]
        rng = np.random.default_rng(block)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gemm_blocking, "CHUNK", 32)
            operands = [random_operand(type, rng) for type in types]
            assert_as_specified(kernel, operands, types, TARGETS, seed=1)


def test_rows_and_columns_of_a_larger_tensor() -> None:
    """Parts of one projection, as of queries and keys: what lies between must not be read."""
    m, k, n, width = 30, 16, 32, 100
    a, b = View(0, Address(3, (width, 0, 1))), View(1, Address(5, (0, 1, width)))
    kernel, types = contraction((m, n), (k,), (a, b)), [f32(m, width), f32(k, width)]
    operands = [np.full(type.shape, 1e30, np.float32) for type in types]
    rng = np.random.default_rng(0)
    operands[0][:, 3 : 3 + k] = rng.standard_normal((m, k))
    operands[1][:, 5 : 5 + n] = rng.standard_normal((k, n))
    assert layout(found(kernel, types), "rows", TILES) and layout(found(kernel, types), "columns", TILES)
    assert_as_specified(kernel, operands, types, TARGETS, seed=2)


def test_images_in_place() -> None:
    """Columns of a convolution's result: pieces of 64 neighbours, one for each image."""
    kernel = contraction((3, 20, 64), (9,), (View(0, Address(0, (576, 0, 1, 64))), View(1, Address(0, (0, 9, 0, 1)))))
    types = [f32(3, 9, 64), f32(20, 9)]
    assert result_pitch(found(kernel, types), TILES) == 64
    rng = np.random.default_rng(3)
    assert_as_specified(kernel, [random_operand(type, rng) for type in types], types, TARGETS, seed=3)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_nan_in_place_is_the_canonical_one(target: Target) -> None:
    """Processors make another one of 0 times infinity."""
    kernel, types = product(15, 4, 32)
    a, b = np.zeros((15, 4), np.float32), np.full((4, 32), np.inf, np.float32)
    (result,) = run_code(kernel, [a, b], types, target)
    assert (bits(result) == 0x7FC00000).all()
