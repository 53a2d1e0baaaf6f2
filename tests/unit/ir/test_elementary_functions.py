"""Every elementary function on a dense sample of inputs; all 2^32 of them are `make exhaustive`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import mpmath
import numpy as np
import pytest

from exhaustive.evaluation import apply
from exhaustive.functions import FUNCTIONS, Function
from exhaustive.inputs import operands_of, sample
from exhaustive.measure import Figures, Words, complaints, count_decreasing, measure
from exhaustive.page import PAGE, rows
from tallystick.ir import elementary
from tallystick.spec.instructions import Code, Environment, execute
from tallystick.spec.limits import INSTRUCTIONS

EVERY_FUNCTION = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=list(FUNCTIONS))


def inputs(function: Function) -> tuple[Words, ...]:
    return (sample(function),) if function.operands == 1 else operands_of(function, 1 << 20, seed=0)


def doubles(operands: tuple[Words, ...]) -> list[np.ndarray]:
    with np.errstate(invalid="ignore"):  # signalling NaN
        return [operand.view(np.float32).astype(np.float64) for operand in operands]


def figures_of(function: Function, operands: tuple[Words, ...], results: Words) -> Figures:
    with np.errstate(all="ignore"):
        figures = measure(function, operands, results, function.reference(*doubles(operands)))
    if function.monotone:
        figures.decreasing = count_decreasing(results.view(np.float32))
    return figures


def test_no_function_is_left_out() -> None:
    assert sorted(FUNCTIONS) == sorted(elementary.__all__)


@EVERY_FUNCTION
def test_errors_stay_below_the_bar(function: Function) -> None:
    operands = inputs(function)
    figures = figures_of(function, operands, apply(function, *operands))
    assert figures.inputs >= 1 << 20
    assert complaints(function, figures) == []


@EVERY_FUNCTION
def test_the_reference_is_far_better(function: Function) -> None:
    """Binary64, compared with 200 bits."""
    operands = tuple(operand[:: 1 << 11] for operand in inputs(function))
    with np.errstate(all="ignore"):
        reference = function.reference(*doubles(operands))
        nearest = reference.astype(np.float32)
    for *xs, double, float_ in zip(*doubles(operands), reference, nearest, strict=True):
        if np.all(np.isfinite(xs)) and np.isfinite(float_) and abs(float_) >= 2.0**-126:
            with mpmath.workprec(200):
                exact = function.exact(*map(mpmath.mpf, map(float, xs)))
                assert abs(exact - float(double)) <= abs(exact) * 2.0**-45


@EVERY_FUNCTION
def test_the_specification_computes_the_same_words(function: Function) -> None:
    operands = tuple(np.ascontiguousarray(operand[:: 1 << 13]) for operand in inputs(function))
    code = function.code
    expected = [run(code, *(int(word) for word in words)) for words in zip(*operands, strict=True)]
    assert apply(function, *operands).tolist() == expected


def test_powers_whose_exponent_is_129_and_a_little_are_infinite() -> None:
    x = np.array([0x0288536D, 0x0A9784D8, 0x3F7FB9D0, 0x3F7FE129, 0x3C3B6727], np.uint32)
    y = np.array([0xBF8771F9, 0xBF9C21CD, 0xC7A2FABB, 0xC8398408, 0xC1A00000], np.uint32)
    assert apply(FUNCTIONS["pow"], x, y).tolist() == [0x7F800000] * 5


@EVERY_FUNCTION
def test_code_fits_a_kernel_with_room_for_others(function: Function) -> None:
    assert len(function.code.instructions) <= INSTRUCTIONS
    assert function.instructions <= INSTRUCTIONS // 2


@EVERY_FUNCTION
def test_the_reference_page_is_about_this_code(function: Function) -> None:
    line = rows(PAGE.read_text("utf-8")).get(function.name, "")
    assert function.fingerprint in line, f"run `make exhaustive`: the table has not seen this code of {function.name}"


def run(code: Code, *words: int) -> int:
    loads = SimpleNamespace(step=0, load=lambda slot, registers: words[slot])
    return execute(code, cast(Environment, loads))[0]


class TestMeasure:
    """What the comparison must notice, planted in good results."""

    function = FUNCTIONS["exp"]

    def complaints_about(self, word: int, result: int) -> list[str]:
        words = np.array([0, word, 0x7F800000], np.uint32)
        results = apply(self.function, words)
        results[1] = result
        return complaints(self.function, figures_of(self.function, (words,), results))

    def test_nothing_wrong(self) -> None:
        assert self.complaints_about(0x3F000000, 0x3FD3094C) == []

    def test_two_ulps_off(self) -> None:
        (complaint,) = self.complaints_about(0x3F000000, 0x3FD3094C + 2)
        assert "off by" in complaint

    def test_decreasing(self) -> None:
        words = np.array([0x30800000, 0x30800001], np.uint32)  # exp is 1 and a little more
        figures = figures_of(self.function, (words,), np.array([0x3F800000, 0x3F7FFFFF], np.uint32))
        assert complaints(self.function, figures) == ["decreases 1 times"]

    @pytest.mark.parametrize(
        ("word", "result", "problem"),
        [
            (0x7F800001, 0x7F800001, "should be the canonical NaN"),
            (0x00000000, 0x7FC00000, "should not be NaN"),
            (0xC3000000, 0x80000000, "should have the other sign"),
            (0xFF800000, 0x00000001, "should be exact"),
            (0x7F800000, 0x7F7FFFFF, "should be exact"),
        ],
    )
    def test_special_results(self, word: int, result: int, problem: str) -> None:
        assert any(problem in complaint for complaint in self.complaints_about(word, result))

    def test_overflow_counts_as_the_next_power_of_two(self) -> None:
        largest = 0x42B17217  # exp of it is just below the largest float
        assert self.complaints_about(largest, 0x7F7FFFFF) != []
        assert self.complaints_about(0x43000000, 0x7F800000) == []
