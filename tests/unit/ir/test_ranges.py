"""Bounds of addresses under guards: sound for every point, exact for the guards that models have."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sample_programs
from tallystick.ir.ranges import affine_range, box_of, normal_form, open_range
from tallystick.spec.views import Address, Guard, affine


def visited_range(address: Address, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """By visiting every point."""
    reached = [
        affine(address.base, address.strides, indices)
        for indices in product(*(range(extent) for extent in shape))
        if all(0 <= affine(guard.base, guard.strides, indices) < guard.limit for guard in address.guards)
    ]
    return (min(reached), max(reached)) if reached else None


@st.composite
def guarded_addresses(draw) -> tuple[Address, tuple[int, ...]]:
    shape = tuple(draw(st.lists(st.integers(1, 5), max_size=4)))
    strides = st.lists(st.integers(-4, 4), min_size=len(shape), max_size=len(shape)).map(tuple)
    guards = st.builds(Guard, st.integers(-8, 8), strides, st.integers(0, 9))
    address = st.builds(
        Address,
        st.integers(-20, 20),
        st.lists(st.integers(-30, 30), min_size=len(shape), max_size=len(shape)).map(tuple),
        st.just(()),
        st.lists(guards, max_size=4).map(tuple),
    )
    return draw(address), shape


@given(guarded_addresses())
def test_no_open_point_lies_outside_the_bounds(case: tuple[Address, tuple[int, ...]]) -> None:
    address, shape = case
    bounds, visited = open_range(address, shape), visited_range(address, shape)
    if visited is not None:
        assert bounds is not None
        assert bounds[0] <= visited[0] and visited[1] <= bounds[1]


@given(guarded_addresses())
def test_bounds_without_guards_are_exact(case: tuple[Address, tuple[int, ...]]) -> None:
    address, shape = case
    assert affine_range(address.base, address.strides, box_of(shape)) == visited_range(
        Address(address.base, address.strides), shape
    )


@given(guarded_addresses())
def test_the_whole_address_as_a_guard_is_always_enough(case: tuple[Address, tuple[int, ...]]) -> None:
    address, shape = case
    guards = (*address.guards, Guard(address.base, address.strides, 7))
    bounds = open_range(Address(address.base, address.strides, (), guards), shape)
    assert bounds is None or (bounds[0] >= 0 and bounds[1] < 7)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 2, 5])
def test_convolutions_are_proved_exactly(stride: int, dilation: int, padding: int) -> None:
    kernel = sample_programs.convolution((2, 2, 5, 6), (1, 2, 3, 3), stride, dilation, padding)
    shape = kernel.out_shape + kernel.reduce_shape
    bounds = open_range(kernel.loads[0].address, shape)
    assert bounds is not None
    assert bounds[0] >= 0 and bounds[1] < 2 * 2 * 5 * 6


def test_guards_on_one_expression_are_met_together() -> None:
    """A slice of a padded tensor: two guards on proportional expressions, one of them reversed."""
    guards = (Guard(-2, (1, 1), 10), Guard(6, (-2, -2), 9))  # 2 <= i + j < 12 and -1 <= i + j <= 3
    assert open_range(Address(0, (1, 1), (), guards), (20, 20)) == (2, 3)


def test_nested_padding_is_proved() -> None:
    """A window over rows of a padded image that is itself a slice: guards on rows, then on rows and columns."""
    guards = (Guard(-1, (1, 0, 1, 0), 4), Guard(-1, (0, 1, 0, 1), 4), Guard(0, (1, 0, 0, 0), 3))
    assert open_range(Address(-5, (4, 1, 4, 1), (), guards), (6, 6, 3, 3)) == (0, 15)


@pytest.mark.parametrize(
    "guard",
    [Guard(5, (0,), 5), Guard(-1, (0,), 5), Guard(0, (1,), 0), Guard(-9, (1,), 3), Guard(1, (3,), 1)],
)
def test_guards_that_never_open_reach_nothing(guard: Guard) -> None:
    assert open_range(Address(10**9, (10**9,), (), (guard,)), (4,)) is None


def test_a_guard_has_one_normal_form() -> None:
    assert normal_form(Guard(1, (2, 4), 8)) == ((1, 2), (0, 3))
    assert normal_form(Guard(6, (-2, -4), 8)) == ((1, 2), (0, 3))
    assert normal_form(Guard(3, (0, 0), 4)) == ((0, 0), (0, 0))
    assert normal_form(Guard(4, (0, 0), 4)) is None
    assert normal_form(Guard(0, (), 1)) == ((), (0, 0))


def test_guards_on_the_same_axes_are_used_together() -> None:
    """Rows and columns that both move with both axes: neither guard alone bounds the address."""
    guards = (Guard(-3, (1, 2), 3), Guard(11, (-1, 2), 10))
    assert open_range(Address(-19, (9, 22), (), guards), (7, 8)) == (8, 29)


@st.composite
def tables(draw) -> tuple[Address, tuple[int, ...], int]:
    """A table of rows and columns, each found by a guarded expression; and how many elements it has."""
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    strides = st.lists(st.integers(-3, 3), min_size=len(shape), max_size=len(shape))
    row, column = (Guard(draw(st.integers(-9, 9)), tuple(draw(strides)), limit) for limit in (rows, columns))
    base = columns * row.base + column.base
    together = tuple(columns * r + c for r, c in zip(row.strides, column.strides, strict=True))
    return Address(base, together, (), (row, column)), shape, rows * columns


@given(tables())
def test_guarded_tables_are_always_proved(case: tuple[Address, tuple[int, ...], int]) -> None:
    address, shape, elements = case
    bounds = open_range(address, shape)
    assert bounds is None or (bounds[0] >= 0 and bounds[1] < elements)
