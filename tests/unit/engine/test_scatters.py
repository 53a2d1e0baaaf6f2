"""Scatters: source order, dropped words, bases of every type, stripes that threads share."""

from __future__ import annotations

import numpy as np
import pytest

from engine_kernels import CompiledKernel, all_targets, as_type, assert_as_specified, code, dense, floats, words
from tallystick.engine import scatters
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.kernels import Kernel, Scatter
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View


@pytest.fixture(autouse=True)
def many_tasks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scatters, "STRIPE_NS", 5.0)


def row_scatter(
    sources: int, width: int, rows: int, dtype: DType, base: bool, merge: bool, guarded: bool
) -> tuple[Kernel, list[np.ndarray], list[TensorType]]:
    """Rows of floats into the rows that a list of numbers names, some of them outside."""
    builder = CodeBuilder()
    row, word = builder.load(0), builder.fmul(builder.load(1), builder.float(3.0))
    is_float = dtype in (DType.F32, DType.BF16, DType.F16)
    word = word if is_float else builder.f2i(word)
    body, place = builder.build(word, keep=(row,))
    combine = code(lambda b: b.fadd(b.acc(0), b.acc(1)) if is_float else b.iadd(b.imul(b.acc(0), b.word(3)), b.acc(1)))
    guards = (Guard(-1, (0, 1), max(width - 2, 0)),) if guarded else ()
    address = Address(0, (0, 1), ((width, place[row]),), guards)
    scatter = Scatter((rows, width), 2 if base else None, 0x40400001, address, combine if merge else None)
    loads = (View(0, Address(0, (1, 0))), View(1, Address(0, (width, 1))))
    numbers = np.random.default_rng(1).integers(-2, rows + 2, sources).astype(np.int32)
    start = floats(rows, width, seed=5) if dtype == DType.F32 else as_type(dtype, words(rows, width).view(np.uint32))
    types = [TensorType(DType.I32, (sources,)), TensorType(DType.F32, (sources, width)), TensorType(dtype, start.shape)]
    kernel = Kernel((sources, width), (), loads, body, (dtype,), None, scatter)
    return kernel, [numbers, floats(sources, width, seed=2), start], types


@pytest.mark.parametrize("dtype", [DType.F32, DType.I32, DType.BF16, DType.U8, DType.BOOL])
@pytest.mark.parametrize(("sources", "width", "rows"), [(12, 40, 9), (7, 5, 9), (20, 1, 6), (3, 64, 2)])
def test_rows(sources: int, width: int, rows: int, dtype: DType):
    targets, turn = all_targets(), 0
    for base in (True, False):
        for merge in (True, False):
            for guarded in (True, False):
                kernel, arrays, types = row_scatter(sources, width, rows, dtype, base, merge, guarded)
                assert_as_specified(kernel, arrays, [targets[turn % len(targets)], targets[-1]], types)
                turn += 1


def test_threads_share_rows_whose_places_differ():
    """Columns of different numbers never meet in one element here, so they are tasks of their own."""
    kernel, _, types = row_scatter(12, 64, 9, DType.F32, True, True, False)
    assert CompiledKernel(kernel, types, all_targets()[0]).function.phases[1].tasks > 1


def test_threads_do_not_share_rows_whose_places_meet():
    """A stride smaller than the row: neighbouring rows overlap, and their order matters."""
    builder = CodeBuilder()
    row, word = builder.load(0), builder.load(1)
    body, place = builder.build(word, keep=(row,))
    combine = code(lambda b: b.fsub(b.fmul(b.acc(0), b.float(0.5)), b.acc(1)))
    scatter = Scatter((200,), None, 0, Address(0, (0, 1), ((8, place[row]),)), combine)
    loads = (View(0, Address(0, (1, 0))), View(1, Address(0, (40, 1))))
    kernel = Kernel((10, 40), (), loads, body, (DType.F32,), None, scatter)
    numbers = np.random.default_rng(3).integers(0, 20, 10).astype(np.int32)
    arrays = [numbers, floats(10, 40)]
    types = [TensorType(DType.I32, (10,)), TensorType(DType.F32, (10, 40))]
    assert CompiledKernel(kernel, types, all_targets()[0]).function.phases[1].tasks == 1
    assert_as_specified(kernel, arrays, types=types)


def test_elements_named_one_by_one():
    """Like the gradient of a pooling: every source point names its element itself."""
    shape = (3, 4, 5)
    builder = CodeBuilder()
    place_word, word = builder.load(0), builder.load(1)
    body, place = builder.build(word, keep=(place_word,))
    add = code(lambda b: b.fadd(b.acc(0), b.acc(1)))
    scatter = Scatter((3, 25), None, 0, Address(0, (25, 0, 0), ((1, place[place_word]),)), add)
    loads = (View(0, Address(0, dense(*shape))), View(1, Address(0, dense(*shape))))
    kernel = Kernel(shape, (), loads, body, (DType.F32,), None, scatter)
    numbers = np.random.default_rng(4).integers(-3, 30, shape).astype(np.int32)
    assert_as_specified(kernel, [numbers, floats(*shape)])


def test_one_word():
    """One source point, as in writing a record; a strange word of the base stays as it is stored."""
    builder = CodeBuilder()
    at, word = builder.step(), builder.load(0)
    body, place = builder.build(word, keep=(at,))
    scatter = Scatter((20,), 1, 0, Address(0, (), ((1, place[at]),)), None)
    kernel = Kernel((), (), (View(0, Address(0, ())),), body, (DType.BF16,), None, scatter)
    base = words(20).view(np.uint32).astype(np.uint16)
    types = [TensorType(DType.F32, ()), TensorType(DType.BF16, (20,))]
    assert_as_specified(kernel, [floats(), base], types=types)
