"""binary32 on bit patterns against exact rational arithmetic and against the hardware through numpy."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from math import isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.spec import float32

NAN = 0x7FC00000
INF = 0x7F800000
SIGN = 0x80000000
LARGEST = 0x7F7FFFFF

HARD = [
    word | sign
    for sign in (0, SIGN)
    for word in (
        *(0x00000000, 0x00000001, 0x00000002, 0x00000003, 0x007FFFFE, 0x007FFFFF, 0x00800000, 0x00800001),
        *(0x00FFFFFF, 0x01000000, 0x0C800000, 0x1FFFFFFF, 0x20000000, 0x33800000, 0x33800001, 0x34000000),
        *(0x3EFFFFFF, 0x3F000000, 0x3F000001, 0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x3FC00000, 0x3FFFFFFF),
        *(0x40000000, 0x40200000, 0x40400000, 0x40490FDB, 0x4B000000, 0x4B000001, 0x4B7FFFFF, 0x4B800000),
        *(0x4EFFFFFF, 0x4F000000, 0x4F000001, 0x5F000000, 0x7E800000, 0x7F000000, 0x7F7FFFFE, 0x7F7FFFFF),
        *(0x7F800000, 0x7F800001, 0x7FA00000, 0x7FC00000, 0x7FFFFFFF),
    )
]


def words() -> st.SearchStrategy[int]:
    """Any word, hard ones often, and words of close exponents so that sums cancel and align."""
    near = st.builds(
        lambda sign, exponent, fraction: sign << 31 | exponent << 23 | fraction,
        st.integers(0, 1),
        st.integers(100, 150),
        st.sampled_from([0, 1, 0x400000, 0x7FFFFF]) | st.integers(0, 0x7FFFFF),
    )
    return st.sampled_from(HARD) | near | st.integers(0, 0xFFFFFFFF)


def random_words(count: int, seed: int) -> list[int]:
    """Words with every exponent equally likely and fractions that often sit at an edge."""
    rng = random.Random(seed)
    fractions = (lambda: rng.getrandbits(23), lambda: 0, lambda: 0x7FFFFF, lambda: 1 << rng.randrange(23))
    return [rng.getrandbits(1) << 31 | rng.randrange(256) << 23 | rng.choice(fractions)() for _ in range(count)]


def is_nan(word: int) -> bool:
    return word & 0x7FFFFFFF > INF


def finite(word: int) -> bool:
    return word & 0x7FFFFFFF < INF


def exact(word: int) -> Fraction:
    """The rational number a finite word stands for."""
    exponent, fraction = word >> 23 & 0xFF, word & 0x7FFFFF
    magnitude = Fraction(fraction + (1 << 23 if exponent else 0)) * Fraction(2) ** (max(exponent, 1) - 150)
    return -magnitude if word & SIGN else magnitude


def nearest(x: Fraction, zero: int = 0) -> int:
    """The word nearest to a rational, by search among the 2**31 magnitudes: no rounding logic to get wrong."""
    if x == 0:
        return zero
    sign, x = (SIGN, -x) if x < 0 else (0, x)
    low, high = 0, INF - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if exact(middle) <= x else (low, middle - 1)
    above = exact(low + 1) if low + 1 < INF else Fraction(2) ** 128
    below = exact(low)
    if x - below > above - x or (x - below == above - x and low & 1):
        low += 1
    return sign | low


def reference_fma(a: int, b: int, c: int) -> int:
    if is_nan(a) or is_nan(b) or is_nan(c):
        return NAN
    if not finite(a) or not finite(b):
        zero = a & ~SIGN == 0 or b & ~SIGN == 0
        infinity = INF | (a ^ b) & SIGN
        return NAN if zero or (not finite(c) and c != infinity) else infinity
    if not finite(c):
        return c
    negative_zero = exact(a) * exact(b) == 0 == exact(c) and (a ^ b) & SIGN and c & SIGN
    if exact(a) * exact(b) + exact(c) == 0 and exact(c) == 0:
        # a product of zero: only two negative zeros add to one
        return SIGN if negative_zero else 0
    return nearest(exact(a) * exact(b) + exact(c))


def check_fma(a: int, b: int, c: int) -> None:
    got = float32.fma(a, b, c)
    assert got == reference_fma(a, b, c), f"fma({a:#010x}, {b:#010x}, {c:#010x}) = {got:#010x}"


@given(words(), words(), words())
def test_fma_is_exact_then_rounded_once(a: int, b: int, c: int) -> None:
    check_fma(a, b, c)


def test_fma_on_random_exponents() -> None:
    values = random_words(3000, seed=1)
    for a, b, c in zip(values[::3], values[1::3], values[2::3], strict=True):
        check_fma(a, b, c)


def test_fma_where_product_and_addend_nearly_cancel_or_tie() -> None:
    rng = random.Random(2)
    for _ in range(500):
        a, b = (rng.randrange(40, 200) << 23 | rng.getrandbits(23) for _ in range(2))
        product = nearest(exact(a) * exact(b))
        if finite(product):
            check_fma(a, b, product ^ SIGN ^ rng.getrandbits(2))
            # an addend of exactly half of the product's last digit, just above and just below
            half = max((product >> 23 & 0xFF) - 24, 1) << 23
            for addend in (half, half + 1, half - 1, half | SIGN):
                check_fma(product, float32.ONE, addend)


def test_fma_on_every_pair_of_hard_words() -> None:
    rng = random.Random(3)
    for a, b in product(HARD, HARD):
        check_fma(*rng.sample([a, b, rng.choice(HARD)], 3))


NUMPY_BINARY: list[tuple[Callable[[int, int], int], np.ufunc]] = [
    (float32.add, np.add),
    (float32.sub, np.subtract),
    (float32.mul, np.multiply),
    (float32.div, np.divide),
    (float32.less, np.less),
    (float32.less_equal, np.less_equal),
    (float32.equal, np.equal),
]


@pytest.mark.parametrize(("ours", "theirs"), NUMPY_BINARY, ids=lambda f: f.__name__)
def test_binary_operations_are_the_hardware_s(ours: Callable[[int, int], int], theirs: np.ufunc) -> None:
    pairs = [*product(HARD, HARD), *zip(random_words(8000, 4), random_words(8000, 5), strict=True)]
    pairs += [(a, a ^ flip) for a in random_words(2000, 6) for flip in (SIGN, SIGN | 1)]
    a, b = (np.array(column, np.uint32).view(np.float32) for column in zip(*pairs, strict=True))
    with np.errstate(all="ignore"):
        expected = theirs(a, b)
    check_against(ours, pairs, expected)


def check_against(ours: Callable[..., int], cases: list[tuple[int, ...]], expected: np.ndarray) -> None:
    if expected.dtype == np.float32:
        bits = expected.view(np.uint32).copy()
        bits[np.isnan(expected)] = NAN
    else:
        bits = expected.astype(np.int64)
    for case, want in zip(cases, bits.tolist(), strict=True):
        got = ours(*case)
        assert got == want, f"{[hex(word) for word in case]} gave {got:#x}, not {want:#x}"


@pytest.mark.parametrize(("ours", "theirs"), [(float32.sqrt, np.sqrt), (float32.rint, np.rint)], ids=["sqrt", "rint"])
def test_unary_operations_are_the_hardware_s(ours: Callable[[int], int], theirs: np.ufunc) -> None:
    cases = [(word,) for word in HARD + random_words(20000, 7)]
    cases += [(exponent << 23 | fraction,) for exponent in range(120, 155) for fraction in (0, 1, 0x400000, 0x7FFFFF)]
    a = np.array(cases, np.uint32)[:, 0].view(np.float32)
    with np.errstate(all="ignore"):
        check_against(ours, cases, theirs(a))


@given(words())
def test_sqrt_is_the_nearest_to_the_root(a: int) -> None:
    got = float32.sqrt(a)
    if is_nan(a) or (a & SIGN and a != SIGN):
        assert got == NAN
    elif a in (0, SIGN, INF):
        assert got == a
    else:
        # compare squares of the midpoints to both neighbours with the operand; a tie cannot happen
        below, above = ((exact(got) + exact(got + side)) / 2 for side in (-1, 1))
        assert below**2 < exact(a) < above**2


@pytest.mark.parametrize("significand", [0x925859, 0xA3F60B, 0xA97BEF, 0xAA177F, 0xBB8BCC])
@pytest.mark.parametrize("exponent", [126, 127])
def test_sqrt_just_above_a_midpoint_rounds_up(significand: int, exponent: int) -> None:
    """Roots within 2**-20 of a last digit above a midpoint: only digits far below tell them from a tie."""
    word = exponent << 23 | significand & 0x7FFFFF
    assert float32.sqrt(word) == int(np.sqrt(np.uint32(word).view(np.float32)).view(np.uint32))


@given(words(), words())
def test_div_is_exact_then_rounded_once(a: int, b: int) -> None:
    got = float32.div(a, b)
    if finite(a) and finite(b) and b & ~SIGN:
        assert got == nearest(exact(a) / exact(b), zero=(a ^ b) & SIGN) | (a ^ b) & SIGN


@given(words(), words())
def test_add_sub_mul_agree_with_exact_arithmetic(a: int, b: int) -> None:
    if finite(a) and finite(b):
        assert float32.add(a, b) == nearest(exact(a) + exact(b), zero=a & b & SIGN)
        assert float32.sub(a, b) == nearest(exact(a) - exact(b), zero=a & ~b & SIGN)
        assert float32.mul(a, b) == nearest(exact(a) * exact(b), zero=(a ^ b) & SIGN)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (float32.add(LARGEST, 0x73000000 - 1), LARGEST),  # just below half a last digit over the edge
        (float32.add(LARGEST, 0x73000000), INF),  # exactly half: away, the last digit of the largest is odd
        (float32.mul(1, 0x3F000000), 0),  # half of the smallest: tie to even
        (float32.mul(1, 0x3F000001), 1),
        (float32.mul(3, 0x3F000000), 2),
        (float32.mul(SIGN | 1, 0x3F000000), SIGN),
        (float32.mul(0x00FFFFFF, 0x3F000000), 0x00800000),  # rounds up from subnormal to normal
        (float32.sub(INF, INF), NAN),
        (float32.mul(0, INF), NAN),
        (float32.div(0, SIGN), NAN),
        (float32.div(0x3F800000, SIGN), SIGN | INF),
        (float32.sqrt(SIGN), SIGN),
        (float32.sqrt(SIGN | 1), NAN),
        (float32.sub(0x3F800000, 0x3F800000), 0),
        (float32.add(SIGN, SIGN), SIGN),
        (float32.add(0, SIGN), 0),
        (float32.fma(0, SIGN, SIGN), SIGN),
        (float32.fma(0, INF, NAN), NAN),
        (float32.fma(0x7F000000, 0x40000000, SIGN | INF), SIGN | INF),
        (float32.fma(0x7F000000, 0x40000000, SIGN | LARGEST), 0x73800000),  # no overflow in between
        (float32.canonical(0xFFFFFFFF), NAN),
        (float32.canonical(0x7F800001), NAN),
        (float32.canonical(SIGN | INF), SIGN | INF),
    ],
)
def test_edges(got: int, want: int) -> None:
    assert got == want


@given(words())
def test_to_int_truncates_and_saturates(a: int) -> None:
    if is_nan(a):
        want = 0
    elif finite(a):
        want = max(-(1 << 31), min((1 << 31) - 1, int(exact(a))))
    else:
        want = -(1 << 31) if a & SIGN else (1 << 31) - 1
    assert float32.to_int(a) == want & 0xFFFFFFFF


@given(st.integers(0, 0xFFFFFFFF) | st.integers(0, 64).map(lambda n: (0x01000000 << (n & 7)) + n - 32))
def test_from_int_is_the_nearest(a: int) -> None:
    signed = a - (1 << 32) if a & SIGN else a
    assert float32.from_int(a) == nearest(Fraction(signed))


def test_int_conversions_at_the_edges() -> None:
    for a in (0, 1, 0x7FFFFFFF, 0x7FFFFFC0, 0x7FFFFFBF, SIGN, SIGN + 1, 0xFFFFFFFF, 0x01000001, 0x01000003):
        assert float32.from_int(a) == int(np.float32(np.uint32(a).astype(np.int32)).view(np.uint32))


def test_rint_ties_to_even_and_keeps_the_sign() -> None:
    halves = {0x3F000000: 0, 0x3FC00000: 0x40000000, 0x40200000: 0x40000000, 0x40600000: 0x40800000}
    for a, want in halves.items():
        assert float32.rint(a) == want
        assert float32.rint(a | SIGN) == want | SIGN


def test_every_float16_widens_exactly_and_comes_back() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    with np.errstate(all="ignore"):
        wide = bits.view(np.float16).astype(np.float32)
    want = np.where(np.isnan(wide), np.uint32(NAN), wide.view(np.uint32)).tolist()
    for half, word in zip(bits.tolist(), want, strict=True):
        assert float32.from_float16(half) == word
        assert float32.to_float16(word) == (0x7E00 if word == NAN else half)


def test_to_float16_rounds_like_the_hardware() -> None:
    cases = HARD + random_words(5000, 8)
    for half in range(0x7C00):  # every midpoint between neighbours, and its neighbours
        low, high = float32.from_float16(half), float32.from_float16(half + 1)
        middle = 0x477FF000 if high == INF else nearest_midpoint(low, high)
        cases += [middle - 1, middle, middle + 1, middle | SIGN]
    a = np.array(cases, np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        narrow = a.astype(np.float16)
    want = np.where(np.isnan(narrow), np.uint16(0x7E00), narrow.view(np.uint16)).tolist()
    assert [float32.to_float16(word) for word in cases] == want


def nearest_midpoint(low: int, high: int) -> int:
    return float32.mul(float32.add(low, high), 0x3F000000)


def test_every_bfloat16_widens_exactly_and_comes_back() -> None:
    for bits in range(1 << 16):
        word = bits << 16
        wide = float32.from_bfloat16(bits)
        assert wide == (NAN if is_nan(word) else word)
        assert float32.to_bfloat16(wide) == (0x7FC0 if is_nan(word) else bits)


@given(words())
def test_to_bfloat16_is_the_nearest(a: int) -> None:
    got = float32.to_bfloat16(a)
    if is_nan(a):
        assert got == 0x7FC0
        return
    if not finite(a):
        assert got << 16 == a
        return
    magnitude, low = a & ~SIGN, (a & ~SIGN) >> 16
    exact_low, exact_high = exact(low << 16), exact_or_edge(low + 1)
    distance_low, distance_high = exact(magnitude) - exact_low, exact_high - exact(magnitude)
    up = distance_high < distance_low or (distance_high == distance_low and low & 1)
    assert got == low + int(up) | a >> 31 << 15


def exact_or_edge(bits: int) -> Fraction:
    return Fraction(2) ** 128 if bits << 16 == INF else exact(bits << 16)


@given(words(), words(), words())
def test_no_intermediate_needs_more_than_256_bits(a: int, b: int, c: int) -> None:
    """A contract computes with 256-bit words: watch every value that reaches the rounding."""
    seen: list[int] = []
    original = float32.round_and_pack

    def watched(significand: int, *rest: int) -> int:
        seen.append(significand)
        return original(significand, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(float32, "round_and_pack", watched)
        for operation, operands in ((float32.fma, (a, b, c)), (float32.div, (a, b)), (float32.sqrt, (a,))):
            operation(*operands)
    assert all(0 <= significand < 1 << 254 for significand in seen)


def test_isqrt_is_what_the_root_relies_on() -> None:
    for n in (0, 1, 2, (1 << 89) - 1, 1 << 88):
        assert isqrt(n) ** 2 <= n < (isqrt(n) + 1) ** 2
