"""Folds and scans in the exact order of the definition, however they are vectorised and shared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine_kernels import (
    CompiledKernel,
    all_targets,
    as_type,
    assert_as_specified,
    code,
    dense,
    floats,
    types_of,
    words,
)
from tallystick.engine import folds, rows
from tallystick.spec.instructions import Code
from tallystick.spec.kernels import Fold, Kernel
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

FoldParts = tuple[Code, tuple[int, ...], Code, Code, tuple[DType, ...]]


@pytest.fixture(autouse=True)
def many_tasks(monkeypatch: pytest.MonkeyPatch):
    """Small folds are cut into as many tasks as large ones."""
    monkeypatch.setattr(rows, "TASK_NS", 50.0)


def weighted_sum() -> FoldParts:
    body = code(lambda b: b.fadd(b.acc(0), b.fmul(b.load(0), b.load(1))))
    merge = code(lambda b: b.fadd(b.acc(0), b.acc(1)))
    return body, (0,), merge, code(lambda b: b.fdiv(b.acc(0), b.load(2))), (DType.F32,)


def multiply_add() -> FoldParts:
    body = code(lambda b: b.ffma(b.load(0), b.load(1), b.acc(0)))
    merge = code(lambda b: b.fadd(b.acc(0), b.acc(1)))
    return body, (0x3F800000,), merge, code(lambda b: b.fmul(b.acc(0), b.load(2))), (DType.F16,)


def largest_and_where() -> FoldParts:
    def body(b):
        x = b.fmul(b.load(0), b.load(1))
        larger = b.flt(b.acc(0), x)
        return [b.select(larger, x, b.acc(0)), b.select(larger, b.step(), b.acc(1))]

    def merge(b):
        larger = b.flt(b.acc(0), b.acc(2))
        return [b.select(larger, b.acc(2), b.acc(0)), b.select(larger, b.acc(3), b.acc(1))]

    def epilogue(b):
        return [b.fabs(b.fneg(b.acc(0))), b.iadd(b.acc(1), b.f2i(b.load(2)))]

    return code(body), (0xFF800000, 0xFFFFFFFF), code(merge), code(epilogue), (DType.BF16, DType.I32)


def integers() -> FoldParts:
    """An order-dependent mixture of integers, with words that are NaNs of every kind."""
    body = code(lambda b: b.xor(b.imul(b.acc(0), b.word(31)), b.iadd(b.load(0), b.load(1))))
    merge = code(lambda b: b.isub(b.acc(0), b.imul(b.acc(1), b.word(7))))
    return body, (0x7F812345,), merge, code(lambda b: b.xor(b.acc(0), b.load(2))), (DType.I32,)


def negated_nans() -> FoldParts:
    """An accumulator whose NaN is not the canonical one must be carried as bits."""
    body = code(lambda b: b.xor(b.fadd(b.acc(0), b.fmul(b.load(0), b.load(1))), b.word(0x80000000)))
    merge = code(lambda b: b.fsub(b.acc(0), b.acc(1)))
    return body, (0,), merge, code(lambda b: b.xor(b.acc(0), b.load(2))), (DType.I32,)


KINDS: list[Callable[[], FoldParts]] = [weighted_sum, multiply_add, largest_and_where, integers, negated_nans]


def fold_kernel(
    parts: FoldParts, out: tuple[int, ...], reduced: tuple[int, ...], lanes: int, block: int, layout: str
) -> tuple[Kernel, list[np.ndarray]]:
    """A fold over rows ("along"), over columns ("across"), or over rows with a guard that closes near both ends."""
    body, init, merge, epilogue, outputs = parts
    shape = reduced + out if layout == "across" else out + reduced
    strides = dense(*shape)
    if layout == "across":
        strides = strides[len(reduced) :] + strides[: len(reduced)]
    guard = Guard(-1, (0,) * (len(shape) - 1) + (1,), max(reduced[-1] - 3, 0))
    guards = (guard,) if layout == "guarded" else ()
    loads = (
        View(0, Address(0, strides, (), guards), 0x40400000),
        View(1, Address(0, (0,) * len(out) + dense(*reduced))),
        View(2, Address(0, dense(*out) + (0,) * len(reduced))),
    )
    arrays = [floats(*shape, seed=1, special=0.01), floats(*reduced, seed=2, special=0), floats(*out, seed=3)]
    return Kernel(out, reduced, loads, body, outputs, Fold(init, lanes, block, merge, epilogue)), arrays


SHAPES = [
    ((4,), (37,)),
    ((40,), (5,)),
    ((), (100,)),
    ((3, 5), (4, 16)),
    ((2, 18), (3, 7)),
    ((2, 3), (1,)),
    ((3,), (3, 5, 7)),
    ((1, 33), (36,)),
]
ORDERS = [(1, 512), (16, 512), (16, 32), (4, 8), (1, 10)]


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_order(shape: int, monkeypatch: pytest.MonkeyPatch):
    """Every lane count, block length and layout; kinds, targets and two-phase folds take turns."""
    (out, reduced), targets = SHAPES[shape], all_targets()
    turn = shape
    for lanes, block in ORDERS:
        for layout in ("along", "across", "guarded"):
            kernel, arrays = fold_kernel(KINDS[turn % len(KINDS)](), out, reduced, lanes, block, layout)
            monkeypatch.setattr(folds, "SPLIT_NS", 0.0 if turn % 2 else 1e30)
            assert_as_specified(kernel, arrays, [targets[turn % len(targets)]])
            turn += 1


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: Callable[[], FoldParts], monkeypatch: pytest.MonkeyPatch):
    """Every kind for every target, in both shapes and both numbers of phases."""
    for out, reduced, layout in (((3,), (37,), "along"), ((20,), (9,), "across")):
        for split in (0.0, 1e30):
            monkeypatch.setattr(folds, "SPLIT_NS", split)
            kernel, arrays = fold_kernel(kind(), out, reduced, 4, 8, layout)
            assert_as_specified(kernel, arrays)


def test_few_outputs_share_their_blocks(monkeypatch: pytest.MonkeyPatch):
    """One output of many blocks is computed by many tasks, and merged in order."""
    monkeypatch.setattr(folds, "SPLIT_NS", 1000.0)
    kernel, arrays = fold_kernel(weighted_sum(), (), (20_000,), 16, 512, "along")
    compiled = CompiledKernel(kernel, types_of(arrays), all_targets()[-1])
    assert [phase.tasks for phase in compiled.function.phases] == [40, 1]
    assert_as_specified(kernel, arrays, [all_targets()[-1]])


def test_a_large_body_keeps_its_lanes_in_memory():
    def body(b):
        x = b.fmul(b.load(0), b.load(1))
        for number in range(30):
            x = b.ffma(x, b.float(0.25 + number), b.float(1.0 / (number + 1)))
        return b.fadd(b.acc(0), x)

    _, init, merge, epilogue, outputs = weighted_sum()
    kernel, arrays = fold_kernel((code(body), init, merge, epilogue, outputs), (40,), (20,), 8, 16, "across")
    assert_as_specified(kernel, arrays)


@pytest.mark.parametrize(("out", "length"), [((), 50), ((5,), 7), ((40,), 9), ((3, 18), 4), ((6,), 1)])
@pytest.mark.parametrize("outputs", [(DType.F32, DType.I32), (DType.BF16, DType.U8)])
def test_scans(out: tuple[int, ...], length: int, outputs: tuple[DType, ...]):
    """Running sums with a counter; the epilogue sees the index and loads along the scanned axis."""
    rank = len(out)
    body = code(lambda b: [b.fadd(b.acc(0), b.load(0)), b.iadd(b.acc(1), b.index(rank))])
    merge = code(lambda b: [b.acc(0), b.acc(1)])
    epilogue = code(lambda b: [b.fmul(b.acc(0), b.load(1)), b.iadd(b.acc(1), b.index(rank))])
    loads = (View(0, Address(0, dense(*out, length))), View(1, Address(0, (0,) * rank + (1,))))
    kernel = Kernel(out, (length,), loads, body, outputs, Fold((0, 5), 1, length + 3, merge, epilogue, scan=True))
    assert_as_specified(kernel, [floats(*out, length), floats(length, seed=2)])


@pytest.mark.parametrize("dtype", [DType.U8, DType.BOOL, DType.BF16, DType.F16])
@pytest.mark.parametrize("length", [17, 33, 47])
def test_rows_of_narrow_types(dtype: DType, length: int):
    """Rows that end where memory ends, with one element or nearly a vector of them left over."""
    array = as_type(dtype, words(3, length, seed=length).view(np.uint32) & 0x3FFF)
    body = code(lambda b: b.fadd(b.acc(0), b.fmul(b.i2f(b.lshr(b.load(0), b.word(3))), b.float(0.1))))
    fold = Fold((0,), 16, 512, code(lambda b: b.fadd(b.acc(0), b.acc(1))), code(lambda b: b.acc(0)))
    kernel = Kernel((3,), (length,), (View(0, Address(0, (length, 1))),), body, (dtype,), fold)
    assert_as_specified(kernel, [array], types=[TensorType(dtype, (3, length))])


def test_words_of_integers_in_a_fold_are_not_taken_for_floats():
    body = code(lambda b: b.select(b.ilt(b.acc(0), b.load(0)), b.load(0), b.acc(0)))
    merge = code(lambda b: b.select(b.ilt(b.acc(0), b.acc(1)), b.acc(1), b.acc(0)))
    fold = Fold((0x80000000,), 16, 512, merge, code(lambda b: b.acc(0)))
    kernel = Kernel((3,), (50,), (View(0, Address(0, (50, 1))),), body, (DType.I32,), fold)
    assert_as_specified(kernel, [words(3, 50)])
