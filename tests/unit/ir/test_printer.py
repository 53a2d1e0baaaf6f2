"""The text of programs, in full."""

from __future__ import annotations

from dataclasses import replace

import sample_programs
from sample_programs import code, f32
from tallystick.ir.printer import format_float, format_program, format_sum
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType
from tallystick.spec.views import Address, Guard, View

MATMUL = """\
state %0 weight: f32[3, 3]
constant %1 data.x: f32[3, 3]

kernel 0 fold: [3, 3] over [3], 1 lane, blocks of 512 -> %2 f32[3, 3]; work 81; net.py:7 forward: x @ w
  r0 = load %0[o0*3 + k0]
  r1 = load %1[o1 + k0*3]
  r2 = acc 0
  r3 = ffma r0 r1 r2
  yield r3
  init 0x00000000 (0)
  merge
    r0 = acc 0
    r1 = acc 1
    r2 = fadd r0 r1
    yield r2
  epilogue
    r0 = acc 0
    yield r0

next %0 = %2
work of one step: 81
"""

SCATTER = """\
state %0: i32[6]
constant %1: f32[6, 5]

kernel 0 scatter: [6, 5] -> %2 f32[4, 5]; work 90
  r0 = load %0[o0]
  r1 = load %1[o0*5 + o1]
  yield r1
  starts as 0x00000000 (0)
  merged into [o1 + r0*5]
    r0 = acc 0
    r1 = acc 1
    r2 = fadd r0 r1
    yield r2

work of one step: 90
"""

SCAN = """\
state %0: f32[2, 7]

kernel 0 scan: [2] along [7] -> %1 f32[2, 7]; work 28
  reads %0[o0*7 + k0]

next %0 = %1
work of one step: 28
"""


def test_a_fold_in_full() -> None:
    text = format_program(sample_programs.MATMUL, ["net.py:7 forward: x @ w"], ["weight", "data.x"])
    assert text == MATMUL


def test_a_scatter_without_names_and_sources() -> None:
    assert format_program(sample_programs.EMBEDDING_GRADIENT) == SCATTER


def test_the_compact_form_has_no_bodies() -> None:
    assert format_program(sample_programs.CUMULATIVE_SUM, bodies=False) == SCAN


def test_guards_fills_and_constants() -> None:
    view = View(0, Address(3, (-1, 0), (), (Guard(-1, (1, 2), 3), Guard(0, (0, 1), 2))), 0xBF800000)
    body = code(lambda b: b.iadd(b.f2i(b.fadd(b.load(0), b.word(0x3F000000))), b.iadd(b.index(1), b.word(-2))))
    kernel = Kernel((3, 3), (), (view,), body, (DType.I32,))
    lines = format_program(Program((f32(9),), (), (kernel,), (0,))).splitlines()
    assert lines[3:-2] == [
        "  r0 = load %0[-o0 + 3] if 0 <= o0 + o1*2 - 1 < 3 and 0 <= o1 < 2 else 0xbf800000 (-1)",
        "  r1 = const 0x3f000000 (0.5)",
        "  r2 = fadd r0 r1",
        "  r3 = f2i r2",
        "  r4 = index o1",
        "  r5 = const 0xfffffffe (-2)",
        "  r6 = iadd r4 r5",
        "  r7 = iadd r3 r6",
        "  yield r7",
    ]


def test_several_outputs_are_numbered() -> None:
    kernel = Kernel((2,), (), (), replace(code(lambda b: b.step()), results=(0, 0)), (DType.F32, DType.U8))
    text = format_program(Program((f32(1),), (), (kernel,), (0,)))
    assert "map: [2] -> %1 f32[2], %2 u8[2]; work 0" in text


def test_a_base_is_named() -> None:
    kernel = sample_programs.embedding_gradient(6, 5, 6)
    assert kernel.scatter is not None
    placed = replace(kernel, scatter=replace(kernel.scatter, base=1, merge=None))
    text = format_program(replace(sample_programs.EMBEDDING_GRADIENT, kernels=(placed,)))
    assert "  starts as a copy of %1\n  placed in [o1 + r0*5]\n" in text


def test_sums_read_like_sums() -> None:
    assert format_sum(0, []) == "0"
    assert format_sum(-3, [(0, "o0")]) == "-3"
    assert format_sum(-3, [(1, "o0"), (-1, "o1"), (-2, "k0")]) == "o0 - o1 - k0*2 - 3"


def test_floats_read_like_floats() -> None:
    words = {0x3F800000: "1", 0xBDCCCCCD: "-0.100000001", 1: "1.40129846e-45", 0x80000000: "-0", 0x7FC00000: "nan"}
    assert {word: format_float(word) for word in words} == words
    assert format_float(0xFF800000) == "-inf"
