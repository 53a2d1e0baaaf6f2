"""Maps of every shape: broadcast, transposed, guarded, gathered, of every storage type."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_kernels import all_targets, as_type, assert_as_specified, code, dense, floats, words
from tallystick.engine import rows
from tallystick.engine.nest import make_nest
from tallystick.spec.kernels import Kernel
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

SHAPES = [(), (1,), (5,), (16,), (100,), (3, 5), (7, 64), (2, 3, 33), (4, 10), (2, 2, 2, 3), (1500,), (1, 9, 1)]


@pytest.fixture(autouse=True)
def many_tasks(monkeypatch: pytest.MonkeyPatch):
    """Small maps are cut into as many tasks as large ones."""
    monkeypatch.setattr(rows, "TASK_NS", 50.0)


def broadcast_transposed_and_mixed(shape: tuple[int, ...]) -> tuple[Kernel, list[np.ndarray]]:
    rank = len(shape)
    last = (0,) * (rank - 1) + (1,) if rank else ()
    first = (1,) + (0,) * (rank - 1) if rank else ()
    arrays = [
        floats(*shape, seed=1),
        floats(*shape[-1:], seed=2),
        floats(*shape[:1], seed=3),
        floats(*shape[::-1], seed=4),
        words(*shape, seed=5),
    ]
    loads = (
        View(0, Address(0, dense(*shape))),
        View(1, Address(0, last)),
        View(2, Address(0, first)),
        View(3, Address(0, dense(*shape[::-1])[::-1])),
        View(4, Address(0, dense(*shape))),
    )

    def write(b):
        x, row, column, turned, number = (b.load(slot) for slot in range(5))
        place = b.iadd(b.index(rank - 1), b.step()) if rank else b.step()
        return [
            b.ffma(x, row, b.fdiv(column, turned)),
            b.iadd(b.imul(number, place), b.index(0) if rank else place),
            b.select(b.flt(x, turned), b.fsqrt(x), b.fneg(row)),
        ]

    return Kernel(shape, (), loads, code(write), (DType.F32, DType.I32, DType.F32)), arrays


@pytest.mark.parametrize("shape", SHAPES)
def test_views(shape: tuple[int, ...]):
    kernel, arrays = broadcast_transposed_and_mixed(shape)
    assert_as_specified(kernel, arrays)


@pytest.mark.parametrize("outputs", [(DType.BF16, DType.F16), (DType.U8, DType.BOOL), (DType.I8, DType.I32)])
@pytest.mark.parametrize("shape", [(33,), (3, 17), (65,), (700,)])
def test_narrow_outputs_end_exactly(shape: tuple[int, ...], outputs: tuple[DType, DType]):
    """One element left over of a narrow type is where LLVM is known to store too much."""
    body = code(lambda b: [b.fadd(b.load(0), b.float(1.5)), b.fmul(b.load(0), b.float(-3.0))])
    kernel = Kernel(shape, (), (View(0, Address(0, dense(*shape))),), body, outputs)
    assert_as_specified(kernel, [floats(*shape)])


@pytest.mark.parametrize("dtype", list(DType))
@pytest.mark.parametrize("shape", [(50,), (6, 5)])
def test_guarded_loads_of_every_type(shape: tuple[int, ...], dtype: DType):
    """A window shifted by two, a row padded on top, and one that is closed everywhere."""
    rank = len(shape)
    array = as_type(dtype, np.abs(words(*shape, seed=3) >> 12))
    last = (0,) * (rank - 1) + (1,)
    shifted = Address(-2, dense(*shape), (), (Guard(-2, last, shape[-1] - 2),))
    padded = (
        Address(-shape[-1], dense(*shape), (), (Guard(-1, (1,) + (0,) * (rank - 1), 10),)) if rank == 2 else shifted
    )
    closed = Address(1000, (0,) * rank, (), (Guard(-9, last, 0),))
    loads = (View(0, shifted, 0xFFC00001), View(0, padded, 7), View(0, closed, 0x12345678))
    body = code(lambda b: [b.xor(b.load(0), b.word(1)), b.fadd(b.load(1), b.load(2)), b.load(2)])
    kernel = Kernel(shape, (), loads, body, (DType.I32, DType.F32, DType.I32))
    assert_as_specified(kernel, [array], types=[TensorType(dtype, shape)])


@pytest.mark.parametrize("outputs", [(DType.F32,), (DType.U8,)])
def test_concatenations(outputs: tuple[DType, ...]):
    """Rows made of pieces, one of them reversed: where guards open and close the row is cut."""
    arrays = [floats(5, 20, seed=1), floats(5, 33, seed=2), floats(5, 1, seed=3)]
    pieces = (
        View(0, Address(0, (20, 1), (), (Guard(0, (0, 1), 20),))),
        View(1, Address(20 + 32, (33, -1), (), (Guard(52, (0, -1), 33),))),
        View(2, Address(-53, (1, 1), (), (Guard(-53, (0, 1), 1),))),
    )
    body = code(lambda b: b.fadd(b.fadd(b.load(0), b.load(1)), b.load(2)))
    assert_as_specified(Kernel((5, 54), (), pieces, body, outputs), arrays)


@given(st.integers(-20, 20), st.integers(-4, 4).filter(bool), st.integers(1, 20))
def test_openings(base: int, stride: int, limit: int):
    first, end = rows.openings(Guard(base, (stride,), limit), 0)
    for index in range(-100, 100):
        assert (0 <= base + stride * index < limit) == (first <= index < end)


@pytest.mark.parametrize("dtype", [DType.F32, DType.U8, DType.BF16])
def test_computed_addresses(dtype: DType):
    """Gathers of elements and of rows, with numbers inside and far outside; two computed terms at once."""
    table = as_type(dtype, np.abs(words(9, 40, seed=1) >> 12))
    rng = np.random.default_rng(2)
    rows_wanted = rng.integers(-3, 12, 6).astype(np.int32)
    anywhere = rng.integers(-400, 800, (6, 40)).astype(np.int32)
    anywhere[0, :4] = [-(1 << 31), (1 << 31) - 1, 0, 359]

    def write(b):
        row, place = b.load(0), b.load(1)
        return [b.xor(b.load(2), b.word(1)), b.fadd(b.load(3), b.load(4)), b.iadd(row, place)]

    body = code(write)
    row, place = 0, 1
    loads = (
        View(1, Address(0, (1, 0))),
        View(2, Address(0, (40, 1))),
        View(0, Address(0, (0, 1), ((40, row),)), 0x3F800000),
        View(0, Address(3, (0, 0), ((1, place),)), 5),
        View(0, Address(0, (0, 1), ((40, row), (-1, place)), (Guard(0, (1, 0), 5),)), 9),
    )
    kernel = Kernel((6, 40), (), loads, body, (DType.I32, DType.F32, DType.I32))
    types = [TensorType(dtype, (9, 40)), TensorType(DType.I32, (6,)), TensorType(DType.I32, (6, 40))]
    assert [i.imm for i in body.instructions[:2]] == [0, 1]
    assert_as_specified(kernel, [table, rows_wanted, anywhere], types=types)


def test_a_computed_address_far_outside_does_not_wrap():
    """Sums of strides times words that leave 32 bits, and nearly 64."""
    number = np.array([1 << 30, -(1 << 30), 3, -(1 << 31)], np.int32)
    table = floats(4, special=0)
    computed = ((1 << 30, 0), (-(1 << 30), 1))
    body = code(lambda b: [b.fadd(b.i2f(b.isub(b.load(0), b.load(1))), b.load(2))])
    loads = (View(0, Address(0, (1,))), View(0, Address(3, (-1,))), View(1, Address(0, (1,), computed), 0x40000000))
    assert_as_specified(Kernel((4,), (), loads, body, (DType.F32,)), [number, table])


def test_axes_that_every_address_walks_as_one_are_merged():
    shape = (4, 1, 6, 5)
    view = View(0, Address(0, (30, 99, 5, 1)))
    slots = (TensorType(DType.F32, shape),)
    copy = code(lambda b: b.load(0))
    assert make_nest(Kernel(shape, (), (view,), copy, (DType.F32,)), slots).out_shape == (120,)
    turned = View(0, Address(0, (1, 0, 20, 4)))
    assert make_nest(Kernel(shape, (), (turned,), copy, (DType.F32,)), slots).out_shape == (4, 30)
    numbered = code(lambda b: [b.fadd(b.load(0), b.i2f(b.index(2)))])
    assert make_nest(Kernel(shape, (), (view,), numbered, (DType.F32,)), slots).out_shape == (4, 6, 5)
    guarded = View(0, Address(0, (30, 99, 5, 1), (), (Guard(0, (0, 0, 1, 0), 3),)))
    assert make_nest(Kernel(shape, (), (guarded,), copy, (DType.F32,)), slots).out_shape == (4, 6, 5)


def test_targets_are_those_of_this_machine():
    assert {target.opt_level for target in all_targets()} == {0, 3}
