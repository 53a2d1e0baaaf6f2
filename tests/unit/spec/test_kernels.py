"""What kernels mean, on cases small enough to work out by hand."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

import sample_programs
from sample_programs import code, f32, i32
from tallystick.ir.builder import CodeBuilder, float_word
from tallystick.spec.kernels import Fold, Kernel, Scatter, run_kernel
from tallystick.spec.programs import Program, run, run_step
from tallystick.spec.tensors import DType, Tensor, TensorType, is_storable, narrow, widen
from tallystick.spec.views import Address, Guard, View, locate


def floats(*numbers: float) -> Tensor:
    return Tensor(f32(len(numbers)), struct.pack(f"<{len(numbers)}f", *numbers))


def integers(*numbers: int) -> Tensor:
    return Tensor(i32(len(numbers)), struct.pack(f"<{len(numbers)}i", *numbers))


def words(tensor: Tensor) -> list[int]:
    return [tensor.load(element) for element in range(tensor.type.elements)]


def numbers(tensor: Tensor) -> list[float]:
    return list(struct.unpack(f"<{tensor.type.elements}f", bytes(tensor.data)))


# A merge that is neither commutative nor associative shows the order: a then b becomes 10 * a + b.
NOTE_LEFT_THEN_RIGHT = code(lambda b: b.iadd(b.imul(b.acc(0), b.word(10)), b.acc(1)))


def noting_fold(count: int, lanes: int, block: int) -> int:
    """The word of a fold whose steps append their number + 1 to the lane's decimal digits."""
    body = code(lambda b: b.iadd(b.imul(b.acc(0), b.word(10)), b.iadd(b.index(0), b.word(1))))
    fold = Fold((0,), lanes, block, NOTE_LEFT_THEN_RIGHT, code(lambda b: b.acc(0)))
    (output,) = run_kernel(Kernel((), (count,), (), body, (DType.I32,), fold), [], 0)
    return output.load(0)


@pytest.mark.parametrize(
    ("count", "lanes", "block", "want"),
    [
        (5, 1, 5, 12345),
        (5, 1, 512, 12345),
        (4, 1, 2, 12 * 10 + 34),  # two blocks, merged in order
        (5, 1, 2, (12 * 10 + 34) * 10 + 5),  # the last block is short
        (4, 2, 4, 13 * 10 + 24),  # steps alternate between lanes, lane 0 is the left operand
        (4, 4, 4, (1 * 10 + 3) * 10 + (2 * 10 + 4)),  # halves first: lane 0 with 2, lane 1 with 3
        (3, 4, 4, (1 * 10 + 3) * 10 + (2 * 10 + 0)),  # a lane without steps keeps its start
        (4, 2, 2, (1 * 10 + 2) * 10 + (3 * 10 + 4)),
    ],
)
def test_the_order_of_a_fold(count: int, lanes: int, block: int, want: int) -> None:
    assert noting_fold(count, lanes, block) == want


def test_every_lane_starts_from_init() -> None:
    body = code(lambda b: b.iadd(b.acc(0), b.word(1)))
    fold = Fold((100,), 4, 4, code(lambda b: b.iadd(b.acc(0), b.acc(1))), code(lambda b: b.acc(0)))
    (output,) = run_kernel(Kernel((), (6,), (), body, (DType.I32,), fold), [], 0)
    assert output.load(0) == 2 * 4 * 100 + 6  # two blocks of four lanes


def test_matmul() -> None:
    kernel = sample_programs.matmul(2, 2, 3)
    a, b = floats(1, 2, 3, 4, 5, 6), floats(1, 0, 0, 1, 2, 2)
    (output,) = run_kernel(kernel, [a, b], 0)
    assert numbers(output) == [7, 8, 16, 17]


def test_reduce_points_are_numbered_in_row_major_order() -> None:
    body = code(lambda b: b.iadd(b.imul(b.acc(0), b.word(10)), b.iadd(b.imul(b.index(1), b.word(2)), b.index(2))))
    fold = Fold((0,), 1, 4, NOTE_LEFT_THEN_RIGHT, code(lambda b: b.iadd(b.acc(0), b.index(0))))
    (output,) = run_kernel(Kernel((2,), (2, 2), (), body, (DType.I32,), fold), [], 0)
    assert words(output) == [123, 124]


def test_a_scan_stores_after_every_step() -> None:
    (output,) = run_kernel(sample_programs.cumulative_sum(2, 3), [floats(1, 2, 3, 4, 5, 6)], 0)
    assert output.type == f32(2, 3)
    assert numbers(output) == [1, 3, 6, 4, 9, 15]


def test_a_map_has_several_outputs_of_several_types() -> None:
    builder = CodeBuilder()
    x = builder.load(0)
    body, _ = builder.build(builder.fadd(x, x), builder.f2i(x), x)
    kernel = Kernel((2,), (), (View(0, Address(0, (1,))),), body, (DType.F32, DType.I8, DType.BOOL))
    doubled, truncated, truth = run_kernel(kernel, [floats(-1.5, 0)], 0)
    assert numbers(doubled) == [-3, 0]
    assert words(truncated) == [0xFFFFFFFF, 0]
    assert words(truth) == [1, 0]


def test_a_closed_guard_yields_the_fill() -> None:
    view = View(0, Address(-1, (1,), (), (Guard(-1, (1,), 2),)), float_word(9.0))
    kernel = Kernel((4,), (), (view,), sample_programs.COPY, (DType.F32,))
    (output,) = run_kernel(kernel, [floats(1, 2)], 0)
    assert numbers(output) == [9, 1, 2, 9]


def test_a_gather_outside_yields_the_fill() -> None:
    builder = CodeBuilder()
    index = builder.load(0)
    body, place = builder.build(builder.load(1), keep=(index,))
    gathered = View(1, Address(0, (0,), ((1, place[index]),)), float_word(9.0))
    kernel = Kernel((4,), (), (View(0, Address(0, (1,))), gathered), body, (DType.F32,))
    (output,) = run_kernel(kernel, [integers(1, -1, 3, 0), floats(5, 6, 7)], 0)
    assert numbers(output) == [6, 9, 9, 5]


def test_a_scatter_merges_in_source_order_and_drops_what_is_closed() -> None:
    tokens = integers(1, 0, 1, 4, -1)
    gradient = Tensor(f32(5, 2), struct.pack("<10f", *range(10)))
    (output,) = run_kernel(sample_programs.embedding_gradient(3, 2, 5), [tokens, gradient], 0)
    assert numbers(output) == [2, 3, 0 + 4, 1 + 5, 0, 0]


def test_a_scatter_without_merge_keeps_the_last_word_and_the_base() -> None:
    kernel = sample_programs.embedding_gradient(3, 2, 5)
    assert kernel.scatter is not None
    overwriting = replace(kernel, scatter=replace(kernel.scatter, base=2, merge=None))
    base = Tensor(f32(3, 2), struct.pack("<6f", *range(60, 66)))
    gradient = Tensor(f32(5, 2), struct.pack("<10f", *range(10)))
    (output,) = run_kernel(overwriting, [integers(1, 0, 1, 4, -1), gradient, base], 0)
    assert numbers(output) == [2, 3, 4, 5, 64, 65]
    assert numbers(base) == [60, 61, 62, 63, 64, 65]


def test_a_scatter_narrows_between_merges() -> None:
    """The element is a stored one: a bf16 sum is rounded after every word."""
    merge = code(lambda b: b.fadd(b.acc(0), b.acc(1)))
    scatter = Scatter((1,), None, float_word(256.0), Address(0, (0,)), merge)
    kernel = Kernel((4,), (), (), code(lambda b: b.float(0.75)), (DType.BF16,), None, scatter)
    (output,) = run_kernel(kernel, [], 0)
    assert output.load(0) == float_word(256.0)


def test_the_step_reaches_body_merge_and_epilogue() -> None:
    body = code(lambda b: b.iadd(b.acc(0), b.step()))
    merge = code(lambda b: b.iadd(b.iadd(b.acc(0), b.acc(1)), b.step()))
    epilogue = code(lambda b: b.imul(b.acc(0), b.step()))
    (output,) = run_kernel(Kernel((), (2,), (), body, (DType.I32,), Fold((0,), 2, 2, merge, epilogue)), [], 5)
    assert output.load(0) == (5 + 5 + 5) * 5


def test_programs_carry_state_from_step_to_step() -> None:
    count = Kernel((1,), (), (View(0, Address(0, (0,))),), code(lambda b: b.iadd(b.load(0), b.step())), (DType.I32,))
    program = Program((i32(1), i32(1)), (), (count,), (2, 0))
    now, before = run(program, [integers(0), integers(-7)], [], first_step=10, steps=3)
    assert (words(now), words(before)) == ([33], [21])
    values = run_step(program, [integers(1), integers(2)], [], 5)
    assert [words(value) for value in values] == [[1], [2], [6]]


@pytest.mark.parametrize(
    ("indices", "registers", "want"),
    [((0,), [5], 5), ((2,), [5], 11), ((3,), [5], None), ((0,), [0xFFFFFFFF], None), ((2,), [0xFFFFFFFA], 0)],
)
def test_addresses_are_exact_sums_of_signed_words(indices: tuple[int], registers: list[int], want: int | None) -> None:
    assert locate(Address(0, (3,), ((1, 0),), (Guard(0, (1,), 3),)), indices, registers, 12) == want


@pytest.mark.parametrize(
    ("dtype", "bits", "word"),
    [
        (DType.F32, 0x7F800001, 0x7FC00000),
        (DType.F32, 0x80000000, 0x80000000),
        (DType.I32, 0x7F800001, 0x7F800001),
        (DType.U8, 0xFF, 0xFF),
        (DType.I8, 0x80, 0xFFFFFF80),
        (DType.I8, 0x7F, 0x7F),
        (DType.BOOL, 1, 1),
        (DType.BF16, 0xFF81, 0x7FC00000),
        (DType.BF16, 0x3F80, 0x3F800000),
        (DType.F16, 0x8001, 0xB3800000),
    ],
)
def test_elements_widen(dtype: DType, bits: int, word: int) -> None:
    assert widen(dtype, bits) == word


@pytest.mark.parametrize(
    ("dtype", "word", "bits"),
    [
        (DType.F32, 0xFFFFFFFF, 0x7FC00000),
        (DType.I32, 0xFFFFFFFF, 0xFFFFFFFF),
        (DType.U8, 0x1FF, 0xFF),
        (DType.I8, 0xFFFFFF7F, 0x7F),
        (DType.BOOL, 0x100, 1),
        (DType.BOOL, 0, 0),
        (DType.BF16, 0x3F808000, 0x3F80),
        (DType.BF16, 0x3F818000, 0x3F82),
        (DType.BF16, 0xFF800001, 0x7FC0),
        (DType.F16, 0x477FF000, 0x7C00),
        (DType.F16, 0x7F800001, 0x7E00),
    ],
)
def test_words_narrow(dtype: DType, word: int, bits: int) -> None:
    assert narrow(dtype, word) == bits


@pytest.mark.parametrize(
    ("dtype", "wrong"),
    [(DType.F32, 0x7FC00001), (DType.F32, 0xFFC00000), (DType.BF16, 0x7F81), (DType.F16, 0xFE00), (DType.BOOL, 2)],
)
def test_bits_that_no_store_leaves(dtype: DType, wrong: int) -> None:
    assert not is_storable(dtype, wrong)
    assert is_storable(dtype, narrow(dtype, widen(dtype, wrong)))


def test_tensor_types_know_their_size() -> None:
    assert TensorType(DType.BF16, (3, 4)).nbytes == 24
    assert TensorType(DType.F32, ()).nbytes == 4
