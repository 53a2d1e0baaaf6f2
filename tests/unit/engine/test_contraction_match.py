"""Which kernels are contractions, and what their axes are for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contraction_runs import Convolution, batched_views, contraction, matched, matmul_views
from tallystick.engine.contraction import Contraction
from tallystick.ir.builder import CodeBuilder
from tallystick.ir.verifier import verify
from tallystick.spec.kernels import Fold, Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View


def f32(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def found(kernel: Kernel, *types: TensorType) -> Contraction:
    result = matched(kernel, types)
    assert result is not None
    return result


def sizes(c: Contraction) -> tuple[int, int, int, int]:
    return c.batch.size, c.rows.size, c.columns.size, c.steps.size


def test_a_matrix_product_has_rows_and_columns() -> None:
    c = found(contraction((5, 7), (3,), matmul_views(5, 7, 3)), f32(5, 3), f32(3, 7))
    assert sizes(c) == (1, 5, 7, 3)
    assert (c.a.slot, c.b.slot) == (0, 1)


def test_operands_may_come_in_either_order() -> None:
    a, b = matmul_views(5, 7, 3)
    c = found(contraction((5, 7), (3,), (b, a)), f32(5, 3), f32(3, 7))
    assert sizes(c) == (1, 5, 7, 3)
    assert (c.a.slot, c.b.slot) == (1, 0)


def test_an_axis_both_operands_walk_is_a_batch() -> None:
    c = found(contraction((4, 5, 7), (3,), batched_views(4, 5, 7, 3)), f32(4, 5, 3), f32(4, 3, 7))
    assert sizes(c) == (4, 5, 7, 3)


def test_columns_of_a_convolution_are_output_positions() -> None:
    """They are neighbours in the output; filters are not."""
    out, reduce, views, (x, weight) = Convolution(2, 3, 8, 8, 5, 3, padding=1).forward
    c = found(contraction(out, reduce, views), f32(*x), f32(*weight))
    assert sizes(c) == (1, 5, 2 * 8 * 8, 27)
    assert len(c.b.guards) == 2


def test_guards_that_are_always_open_are_forgotten() -> None:
    out, reduce, views, (x, weight) = Convolution(2, 3, 8, 8, 5, 3, padding=0).forward
    c = found(contraction(out, reduce, views), f32(*x), f32(*weight))
    assert c.b.guards == ()


def test_a_broadcast_output_axis_is_a_batch() -> None:
    a, b = View(0, Address(0, (3, 0, 0, 1))), View(1, Address(0, (0, 0, 1, 7)))
    c = found(contraction((5, 2, 7), (3,), (a, b)), f32(5, 3), f32(3, 7))
    assert sizes(c) == (2, 5, 7, 3)


def _with(kernel: Kernel, **changes: object) -> Kernel:
    assert kernel.fold is not None
    return replace(kernel, fold=replace(kernel.fold, **changes))


def _product(b: CodeBuilder) -> int:
    return b.fmul(b.load(0), b.load(1))


def _other_merge() -> Fold:
    b = CodeBuilder()
    fold = contraction((5, 7), (3,), matmul_views(5, 7, 3)).fold
    assert fold is not None
    return replace(fold, merge=b.build(b.fsub(b.acc(0), b.acc(1)))[0])


def _other_body() -> Kernel:
    b = CodeBuilder()
    kernel = contraction((5, 7), (3,), matmul_views(5, 7, 3))
    return replace(kernel, body=b.build(b.fadd(_product(b), b.acc()))[0])


PLAIN = contraction((5, 7), (3,), matmul_views(5, 7, 3))
NOT_CONTRACTIONS = {
    "several lanes": _with(PLAIN, lanes=4, block=512),
    "another start": _with(PLAIN, init=(0x80000000,)),
    "another merge": replace(PLAIN, fold=_other_merge()),
    "product and sum rounded apart": _other_body(),
    "a map": replace(PLAIN, fold=None, reduce_shape=()),
    "nothing used twice": contraction((5,), (3,), (View(0, Address(0, (3, 1))), View(1, Address(0, (1, 7))))),
}


@pytest.mark.parametrize("name", NOT_CONTRACTIONS)
def test_what_is_not_a_contraction(name: str) -> None:
    kernel = NOT_CONTRACTIONS[name]
    if kernel.fold is None:
        kernel = replace(kernel, loads=tuple(View(v.value, Address(0, v.address.strides[:2])) for v in kernel.loads))
    assert matched(kernel, (f32(5, 3), f32(3, 7))) is None


def test_blocks_too_long_to_pack_are_not_a_contraction_unless_there_is_one() -> None:
    views, types = matmul_views(5, 7, 30_000), (f32(5, 30_000), f32(30_000, 7))
    assert matched(contraction((5, 7), (30_000,), views, 8192), types) is not None
    assert matched(contraction((5, 7), (30_000,), views, 8193), types) is None
    assert matched(contraction((5, 7), (30_000,), views, 1 << 20), types) is not None


def test_integer_operands_are_not_a_contraction() -> None:
    types = (TensorType(DType.I32, (5, 3)), f32(3, 7))
    assert matched(PLAIN, types) is None


def test_addresses_that_only_their_base_brings_near_are_not_a_contraction() -> None:
    """Strides that lead 2^31 elements on, from a base as far below the tensor: lanes add the base last."""
    far = (1 << 31) - 8
    view = View(0, Address(-far, (1, 0, far, 4), (), (Guard(-1, (0, 0, 1, 0), 1),)))
    kernel = contraction((4, 40), (2, 3), (view, View(1, Address(0, (0, 1, 120, 40)))))
    verify(Program((f32(64), f32(240), f32(4, 40)), (), (kernel,), (0, 1, 3)))
    assert matched(kernel, (f32(64), f32(240))) is None
