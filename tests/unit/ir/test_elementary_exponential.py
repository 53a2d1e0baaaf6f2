"""exp, exp2, expm1, tanh, sigmoid and erf where their values are known exactly, by the specification alone."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import cast

import pytest

from tallystick.ir import elementary
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import Environment, Op, execute, run_registers

INFINITY = float("inf")
NAN = 0x7FC00000


def word_of(value: float) -> int:
    return struct.unpack("<I", struct.pack("<f", value))[0]


def as_float(word: int) -> float:
    return struct.unpack("<f", struct.pack("<I", word))[0]


def compute(name: str, word: int) -> int:
    b = CodeBuilder()
    code, _ = b.build(getattr(elementary, name)(b, b.load(0)))
    loads = SimpleNamespace(step=0, load=lambda slot, registers: word)
    return execute(code, cast(Environment, loads))[0]


@pytest.mark.parametrize(
    ("name", "x", "result"),
    [
        ("exp", 0.0, 1.0),
        ("exp", -0.0, 1.0),
        ("exp", -INFINITY, 0.0),
        ("exp", INFINITY, INFINITY),
        ("exp", 88.72283, 3.4027985e38),
        ("exp", 88.72284, INFINITY),
        ("exp", -103.27893, 2.0**-149),
        ("exp", -104.0, 0.0),
        ("exp", 1e-45, 1.0),
        ("exp2", 0.0, 1.0),
        ("exp2", 10.0, 1024.0),
        ("exp2", -126.0, 2.0**-126),
        ("exp2", -149.0, 2.0**-149),
        ("exp2", -150.0, 0.0),
        ("exp2", 127.0, 2.0**127),
        ("exp2", 128.0, INFINITY),
        ("exp2", -INFINITY, 0.0),
        ("expm1", 0.0, 0.0),
        ("expm1", -0.0, -0.0),
        ("expm1", 2.0**-149, 2.0**-149),
        ("expm1", -(2.0**-149), -(2.0**-149)),
        ("expm1", -INFINITY, -1.0),
        ("expm1", -18.0, -1.0),
        ("expm1", INFINITY, INFINITY),
        ("tanh", 0.0, 0.0),
        ("tanh", -0.0, -0.0),
        ("tanh", 2.0**-149, 2.0**-149),
        ("tanh", INFINITY, 1.0),
        ("tanh", -INFINITY, -1.0),
        ("tanh", 9.011, 1.0),
        ("sigmoid", 0.0, 0.5),
        ("sigmoid", -0.0, 0.5),
        ("sigmoid", INFINITY, 1.0),
        ("sigmoid", -INFINITY, 0.0),
        ("sigmoid", 17.4, 1.0),
        ("sigmoid", -103.27893, 2.0**-149),
        ("erf", 0.0, 0.0),
        ("erf", -0.0, -0.0),
        ("erf", 2.0**-149, 2.0**-149),
        ("erf", INFINITY, 1.0),
        ("erf", -INFINITY, -1.0),
        ("erf", 4.0, 1.0),
    ],
)
def test_known_values(name: str, x: float, result: float) -> None:
    assert compute(name, word_of(x)) == word_of(result)


@pytest.mark.parametrize("name", ["exp", "exp2", "expm1", "tanh", "sigmoid", "erf"])
@pytest.mark.parametrize("word", [0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF])
def test_every_nan_becomes_the_canonical_one(name: str, word: int) -> None:
    assert compute(name, word) == NAN


@pytest.mark.parametrize("name", ["tanh", "erf"])
@pytest.mark.parametrize("x", [2.0**-130, 1e-4, 0.3, 0.84, 0.86, 0.99, 1.01, 2.0, 3.9, 5.0, 20.0])
def test_odd_functions_are_odd_to_the_bit(name: str, x: float) -> None:
    assert compute(name, word_of(-x)) == compute(name, word_of(x)) ^ 0x80000000


@pytest.mark.parametrize("exponent", range(-149, 128))
def test_exp2_of_integers_is_exact(exponent: int) -> None:
    assert compute("exp2", word_of(float(exponent))) == word_of(2.0**exponent)


@pytest.mark.parametrize("x", [-104.00001, -1000.0, -3.4e38, -INFINITY])
def test_what_a_mask_leaves_out_takes_no_number_below_the_normal_ones(x: float) -> None:
    """A product that underflows would be 0, too, but slows some processors down."""
    b = CodeBuilder()
    code, _ = b.build(elementary.exp(b, b.load(0)))
    loads = SimpleNamespace(step=0, load=lambda slot, registers: word_of(x))
    registers = run_registers(code, cast(Environment, loads))
    products = [i for i in code.instructions if i.op in (Op.FMUL, Op.FFMA)]
    assert registers[code.results[0]] == 0
    for product in products:
        factors = [as_float(registers[register]) for register in product.args]
        exact = factors[0] * factors[1] + (factors[2] if len(factors) == 3 else 0.0)
        assert exact == 0 or abs(exact) >= 2.0**-126
