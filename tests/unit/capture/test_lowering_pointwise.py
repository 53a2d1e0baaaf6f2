"""Every pointwise operator against PyTorch on special and random values.

Operators that IEEE 754 defines agree to the bit with PyTorch in float32. Elementary functions are compared with
PyTorch in double precision: at most 1 unit in the last place, 2 for powers, and a few where the function is composed
of several roundings (said at each).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from lowered_operators import run_function
from special_values import assert_same_bits, assert_within_ulps, float_pairs, floats, integer_pairs, integers
from tallystick.errors import CaptureError

EXACT_UNARY: dict[str, Callable] = {
    "neg": lambda x: -x,
    "abs": torch.abs,
    "reciprocal": torch.reciprocal,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "trunc": torch.trunc,
    "sign": torch.sign,
    "isnan": torch.isnan,
    "isinf": torch.isinf,
    "isfinite": torch.isfinite,
    "times a number": lambda x: x * 0.1,
    "plus a number": lambda x: x + 0.1,
    "minus a number": lambda x: x - 1e-3,
    "number minus": lambda x: 1.0 - x,
    "over a number": lambda x: x / 3.0,
    "over a power of two": lambda x: x / 8,
    "number over": lambda x: 1.0 / x,
    "square": lambda x: x**2,
    "cube": lambda x: x**3,
    "to the power 0": lambda x: x**0,
    "to the power 1": lambda x: x**1,
    "inverse": lambda x: x**-1,
    "inverse square": lambda x: x**-2,
    "clamp": lambda x: x.clamp(-1.0, 2.0),
    "clamp below": lambda x: x.clamp(min=0.5),
    "clamp above": lambda x: x.clamp(max=0.5),
    "hardtanh": F.hardtanh,
    "relu6": F.relu6,
    "leaky relu": lambda x: F.leaky_relu(x, 0.1),
    "less than a number": lambda x: x < 0.1,
    "equal to a number": lambda x: x == 0.5,
    "not equal to a number": lambda x: x != 0.5,
    "at least a number": lambda x: x >= 1,
    "masked fill": lambda x: x.masked_fill(x > 0, -7.0),
    "where": lambda x: torch.where(x > 0.1, x, -1.0),
    "to bool": lambda x: x.to(torch.bool),
    "logical not": torch.logical_not,
    "identity": lambda x: x * 1.0,
}


@pytest.mark.parametrize("name", EXACT_UNARY)
def test_exact_functions_of_one_float(name: str) -> None:
    x = floats()
    (got,) = run_function(EXACT_UNARY[name], x)
    assert_same_bits(got, EXACT_UNARY[name](x).numpy())


def test_relu_keeps_nan_and_clears_negative_numbers() -> None:
    x = floats()
    (got,) = run_function(torch.relu, x)
    np.testing.assert_array_equal(got, torch.relu(x).numpy())  # PyTorch's sign of relu(-0) depends on the vector width


# Bounds in units in the last place against double precision; above 1 where several roundings follow one another.
ELEMENTARY: dict[str, tuple[Callable, float]] = {
    "exp": (torch.exp, 1),
    "exp2": (torch.exp2, 1),
    "expm1": (torch.expm1, 1),
    "log": (torch.log, 1),
    "log2": (torch.log2, 1),
    "log10": (torch.log10, 1),
    "log1p": (torch.log1p, 1),
    "sin": (torch.sin, 1),
    "cos": (torch.cos, 1),
    "tan": (torch.tan, 1),
    "asin": (torch.asin, 1),
    "acos": (torch.acos, 1),
    "atan": (torch.atan, 1),
    "tanh": (torch.tanh, 1),
    "sigmoid": (torch.sigmoid, 1),
    "erf": (torch.erf, 1),
    "rsqrt": (torch.rsqrt, 1),
    "rsqrt by power": (lambda x: x**-0.5, 2),
    "sinh": (torch.sinh, 1),
    "cosh": (torch.cosh, 1),
    "power": (lambda x: x.abs() ** 1.703125, 2),
    "whole power": (lambda x: x**5, 2),
    "power of a number": (lambda x: 3.0**x, 2),
}


def test_square_roots_are_correctly_rounded() -> None:
    """As IEEE 754 asks; PyTorch's vectors are sometimes one unit off."""
    x = floats()
    for function in (torch.sqrt, lambda x: x**0.5):
        (got,) = run_function(function, x)
        with np.errstate(invalid="ignore"):
            assert_same_bits(got, np.sqrt(x.numpy()))


@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary_functions(name: str) -> None:
    function, ulps = ELEMENTARY[name]
    x = floats()
    (got,) = run_function(function, x)
    assert_within_ulps(got, function(x.double()).numpy(), ulps)


# Activations that PyTorch writes as several operators: relative to 1, since they subtract nearly equal numbers.
ACTIVATIONS: dict[str, Callable] = {
    "gelu": F.gelu,
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "softplus": F.softplus,
    "elu": F.elu,
    "selu": F.selu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "logsigmoid": F.logsigmoid,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    x = floats()
    x = x[x.abs() < 1e4]  # PyTorch's gelu of infinity is NaN
    (got,) = run_function(ACTIVATIONS[name], x)
    np.testing.assert_allclose(got, ACTIVATIONS[name](x).numpy(), rtol=2e-6, atol=1e-6)


EXACT_BINARY: dict[str, Callable] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "eq": torch.eq,
    "ne": torch.ne,
    "lt": torch.lt,
    "le": torch.le,
    "gt": torch.gt,
    "ge": torch.ge,
    "logical and": torch.logical_and,
    "logical or": torch.logical_or,
    "logical xor": torch.logical_xor,
    "clamp by tensors": lambda x, y: x.clamp(min=y),
    "where": lambda x, y: torch.where(x < y, x, y * 2),
    "trunc div": lambda x, y: torch.div(x, y, rounding_mode="trunc"),
}


@pytest.mark.parametrize("name", EXACT_BINARY)
def test_exact_functions_of_two_floats(name: str) -> None:
    x, y = float_pairs()
    (got,) = run_function(EXACT_BINARY[name], x, y)
    want = EXACT_BINARY[name](x, y).numpy()
    if name in ("maximum", "minimum", "clamp by tensors"):  # of two zeros either may be the larger
        got, want = got + np.float32(0), want + np.float32(0)
    assert_same_bits(got, want)


@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide"])
def test_float_remainders(name: str) -> None:
    """Exact while the quotient is below 2^64 and the quotient by the smallest numbers does not overflow."""
    x, y = float_pairs()
    kept = ~((x.abs() / y.abs() > 2.0**60) & x.isfinite() & (y != 0))
    x, y = x[kept], y[kept]
    function = getattr(torch, name)
    (got,) = run_function(function, x, y)
    want = function(x, y).numpy()
    np.testing.assert_array_equal(got, want)


def test_powers_of_two_tensors() -> None:
    x, y = float_pairs()
    (got,) = run_function(torch.pow, x, y)
    assert_within_ulps(got, torch.pow(x.double(), y.double()).numpy(), 2)


FUSED: dict[str, Callable] = {
    "add with alpha": lambda x, y: torch.add(x, y, alpha=0.7),
    "sub with alpha": lambda x, y: torch.sub(x, y, alpha=0.7),
    "addcmul": lambda x, y: torch.addcmul(x, x, y, value=0.3),
    "addcdiv": lambda x, y: torch.addcdiv(x, x, y, value=0.3),
    "lerp": lambda x, y: torch.lerp(x, y, 0.3),
}


@pytest.mark.parametrize("name", FUSED)
def test_fused_forms(name: str) -> None:
    """PyTorch rounds these once or twice depending on the machine, so to a few units of the larger operand."""
    torch.manual_seed(0)
    x, y = torch.randn(50), torch.randn(50)
    (got,) = run_function(FUSED[name], x, y)
    np.testing.assert_allclose(got, FUSED[name](x, y).numpy(), rtol=3e-7, atol=3e-7)


INTEGER_UNARY: dict[str, Callable] = {
    "neg": lambda x: -x,
    "abs": torch.abs,
    "sign": torch.sign,
    "relu": torch.relu,
    "bitwise not": torch.bitwise_not,
    "square": lambda x: x**2,
    "fifth power": lambda x: x**5,
    "times a number": lambda x: x * 3,
    "plus a number": lambda x: x + 7,
    "number minus": lambda x: 5 - x,
    "shift left": lambda x: x << 3,
    "shift right": lambda x: x >> 2,
    "floor div by a number": lambda x: x // 3,
    "remainder of a number": lambda x: x % 7,
    "remainder of a negative number": lambda x: x % -7,
    "fmod": lambda x: torch.fmod(x, 5),
    "clamp": lambda x: x.clamp(-2, 50),
    "to bool": lambda x: x.to(torch.bool),
    "to float": lambda x: x.float(),
    "to uint8": lambda x: x.to(torch.uint8),
    "to int8": lambda x: x.to(torch.int8),
    "less than a number": lambda x: x < 3,
    "less than a float": lambda x: x < 2.5,
    "divided": lambda x: x / 4,
    "plus a float": lambda x: x + 0.5,
    "isnan": torch.isnan,
}


@pytest.mark.parametrize("name", INTEGER_UNARY)
def test_functions_of_one_integer(name: str) -> None:
    x = integers()
    (got,) = run_function(INTEGER_UNARY[name], x)
    assert_same_bits(got, INTEGER_UNARY[name](x).numpy())


INTEGER_BINARY: dict[str, Callable] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "add with alpha": lambda x, y: torch.add(x, y, alpha=3),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "eq": torch.eq,
    "lt": torch.lt,
    "le": torch.le,
    "bitwise and": torch.bitwise_and,
    "bitwise or": torch.bitwise_or,
    "bitwise xor": torch.bitwise_xor,
}


@pytest.mark.parametrize("name", INTEGER_BINARY)
def test_functions_of_two_integers(name: str) -> None:
    x, y = integer_pairs()
    (got,) = run_function(INTEGER_BINARY[name], x, y)
    assert_same_bits(got, INTEGER_BINARY[name](x, y).numpy())


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod", "pow"])
def test_integer_quotients_and_powers(name: str) -> None:
    x, y = integer_pairs()
    kept = (y != 0) & ~((x == -(2**31)) & (y == -1))  # PyTorch refuses or traps on these
    if name == "pow":
        kept = (y >= 0) & (y <= 100)
    x, y = x[kept], y[kept]
    function = getattr(torch, name)
    (got,) = run_function(function, x, y)
    assert_same_bits(got, function(x, y).numpy())


def test_booleans() -> None:
    x, y = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    for function in (
        torch.logical_and,
        torch.bitwise_or,
        torch.bitwise_xor,
        lambda x, y: x & ~y,
        lambda x, y: x + y,
        lambda x, y: x * y,
        lambda x, y: x.float() - y.int(),
        lambda x, y: x == y,
        lambda x, y: torch.where(x, 3, y.int()),
    ):
        (got,) = run_function(function, x, y)
        assert_same_bits(got, function(x, y).numpy())


PROMOTIONS: dict[str, Callable] = {
    "bool and float": lambda x, i, b: x * b,
    "integer and float": lambda x, i, b: x + i,
    "bool and integer": lambda x, i, b: i + b,
    "int8 and integer": lambda x, i, b: i.to(torch.int8) + i,
    "uint8 wraps": lambda x, i, b: i.to(torch.uint8) * 3,
    "int8 wraps": lambda x, i, b: i.to(torch.int8) * 3,
    "compare integer with float": lambda x, i, b: x > i,
    "where of both": lambda x, i, b: torch.where(b, x, i),
    "float of a scalar tensor": lambda x, i, b: i * torch.tensor(0.5),
    "cut to integers": lambda x, i, b: (x * 10).to(torch.int32),
}


@pytest.mark.parametrize("name", PROMOTIONS)
def test_mixed_dtypes(name: str) -> None:
    torch.manual_seed(0)
    operands = torch.randn(14), integers(), torch.arange(14) % 3 == 0
    (got,) = run_function(PROMOTIONS[name], *operands)
    want = PROMOTIONS[name](*operands)
    assert_same_bits(got, want.numpy())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_floats_round_as_pytorch_does(dtype: torch.dtype) -> None:
    """Every operator rounds its result, whether it is stored or used at once by the next one."""
    x = torch.cat([floats(), torch.linspace(-70000, 70000, 41), torch.linspace(-1e-4, 1e-4, 41) ** 3])

    def chain(x: torch.Tensor) -> torch.Tensor:
        y = x.to(dtype)
        return ((y * 1.5 + 0.1) / 3).float()

    (got,) = run_function(chain, x)
    assert_same_bits(got, chain(x).numpy())


@pytest.mark.parametrize("amount", [0, 5, 31, 32, 40, 63])
def test_what_is_shifted_out_is_gone(amount: int) -> None:
    x = torch.tensor([5, -7, 2**31 - 1, -(2**31)])
    amounts = torch.full_like(x, amount)
    for got in run_function(lambda x, y: (x >> amount, x >> y), x, amounts):
        np.testing.assert_array_equal(got, (x >> amount).numpy())
    for got in run_function(lambda x, y: (x << amount, x << y), x.int(), amounts.int()):
        np.testing.assert_array_equal(got, (x.int() << amount).numpy())


def test_integers_are_not_compared_with_numbers_beyond_them() -> None:
    with pytest.raises(CaptureError, match="has the number 1099511627776; integers have 32 bits"):
        run_function(lambda x: x < 2**40, torch.tensor([1]))
    (got,) = run_function(lambda x: x < 2**40, torch.tensor([1.0]))
    assert got.tolist() == [True]
